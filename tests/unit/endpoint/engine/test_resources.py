"""What a caller may ask of an engine on Parsl, and how many workers a block has."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.engine.pool_command import pool_command, workers_per_block
from chamberlain_endpoint.engine.port import JobRefusedError
from chamberlain_endpoint.engine.resources import checked_resources
from chamberlain_endpoint.rendered import settled

SIMPLE = {"type": "SimpleLauncher"}
MPI = {
    "type": "GlobusMPIEngine",
    "mpi_launcher": "srun",
    "max_workers_per_block": 3,
    "provider": {"type": "SlurmProvider", "nodes_per_block": 4, "launcher": SIMPLE},
}


def engine(**given: Any) -> settled.HtexEngine:
    checked = rendered.parse({"engine": {"type": "GlobusComputeEngine", **given}})
    found = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(found, settled.HtexEngine)
    return found


@pytest.mark.parametrize(
    ("asked", "nodes", "ranks", "each"),
    [
        (None, 1, 1, 1),
        ({"num_nodes": 2}, 2, 2, 1),
        ({"num_nodes": "2", "ranks_per_node": 4}, 2, 8, 4),
        ({"num_nodes": 2, "num_ranks": 6}, 2, 6, 3),
        ({"num_ranks": 6}, 1, 6, 6),
    ],
)
def test_nodes_and_ranks_follow_from_each_other(
    asked: dict[str, Any] | None, nodes: int, ranks: int, each: int
) -> None:
    assert checked_resources(engine(**MPI), asked) == {
        "num_nodes": nodes,
        "num_ranks": ranks,
        "ranks_per_node": each,
    }


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"num_node": 1}, "takes no num_node"),
        ({"num_nodes": 0}, "number of 1 or more"),
        ({"num_nodes": "two"}, "number of 1 or more"),
        ({"num_nodes": 4, "num_ranks": 6}, "no multiple of num_nodes"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobRefusedError) as refused:
        checked_resources(engine(**MPI), asked)
    assert sentence in refused.value.public


def test_without_mpi_a_priority_is_all() -> None:
    assert checked_resources(engine(), None) is None
    assert checked_resources(engine(), {"priority": 3}) == {"priority": 3}
    with pytest.raises(JobRefusedError, match="takes no num_nodes"):
        checked_resources(engine(), {"num_nodes": 3})


def test_workers_of_an_mpi_engine_share_the_nodes_of_a_block() -> None:
    from parsl.executors.high_throughput.process_worker_pool import get_arg_parser

    meeting = Meeting(("10.0.0.1",), 54321, None, 2, 15, Path("/logs"))
    words = shlex.split(pool_command(engine(**MPI), meeting, block="1", start=["pool"]))
    read = get_arg_parser().parse_args(words[1:])
    assert (read.enable_mpi_mode, read.mpi_launcher) == (True, "srun")
    assert read.max_workers_per_node == "3"
    assert workers_per_block(engine(**MPI), cores=64) == 3


@pytest.mark.parametrize(
    ("provider", "workers"),
    [
        ({"type": "LocalProvider"}, 8),
        ({"type": "SlurmProvider", "nodes_per_block": 2}, 16),
        ({"type": "SlurmProvider", "nodes_per_block": 2, "cores_per_node": 32}, 64),
        ({"type": "CondorProvider", "cores_per_slot": 4}, 4),
    ],
)
def test_a_block_has_the_workers_of_its_nodes(provider: dict[str, Any], workers: int) -> None:
    assert workers_per_block(engine(provider=provider), cores=8) == workers
