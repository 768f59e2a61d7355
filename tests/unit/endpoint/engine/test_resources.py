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
        ({"num_nodes": 2, "num_ranks": 6, "ranks_per_node": 2}, "give two of the three"),
        ({"num_nodes": 5}, "asks for 5 nodes (num_nodes), and a block of this endpoint has 4"),
        ({"launcher_options": "--label"}, "'--label' is not possible at this endpoint; it allows"),
        ({"launcher_options": ["--label"]}, "is not possible at this endpoint"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobRefusedError) as refused:
        checked_resources(engine(**MPI), asked)
    assert sentence in refused.value.public


ALLOWED = {**MPI, "allowed_launcher_options": ["--exclusive", "--cpu-bind=*", "-bind-to *"]}


@pytest.mark.parametrize(
    "options",
    [
        "--exclusive",
        "--cpu-bind=map_cpu:0,1",
        "-bind-to core:2",
        "  --exclusive   -bind-to hwthread --cpu-bind=cores ",
    ],
)
def test_launcher_options_of_the_list_are_passed_on(options: str) -> None:
    asked = checked_resources(engine(**ALLOWED), {"num_nodes": 2, "launcher_options": options})
    assert asked is not None
    assert asked["launcher_options"] == " ".join(options.split())


@pytest.mark.parametrize("options", [None, "", "  \n"])
def test_no_launcher_options_are_none(options: str | None) -> None:
    asked = checked_resources(engine(**MPI), {"num_nodes": 2, "launcher_options": options})
    assert asked is not None
    assert "launcher_options" not in asked


@pytest.mark.parametrize(
    "options",
    [
        # a program of the caller's in the place of the task's
        "--exclusive /bin/sh",
        "-bind-to core /bin/sh",
        "/bin/sh",
        "--exclusive : -n 1 /bin/sh",
        # options that are not of the list, or take no value
        "--exclusive=yes",
        "--task-prolog=/tmp/x",
        "--cpu-bind",
        "--cpu-bind=",
        "-bind-to",
        "-bind-to --task-prolog=/tmp/x",
        "--cpu-bind=*",
        # what a shell reads
        "--cpu-bind=$(id)",
        "--cpu-bind=`id`",
        "--cpu-bind=a;id",
        "--cpu-bind=a|id",
        "--cpu-bind=a&id",
        "--cpu-bind=a>b",
        "--cpu-bind=~root",
        "--cpu-bind=[a]?",
        "--cpu-bind='a",
        '--cpu-bind="a',
        "--cpu-bind=a\\b",
        "--cpu-bind=a\0b",
        "--cpu-bind=\u00e4",
        "-bind-to $HOME",
        "-bind-to a\u00a0/bin/sh",
        "--exclusive\n/bin/sh",
    ],
)
def test_no_launcher_option_can_become_a_program_or_be_read_by_a_shell(options: str) -> None:
    with pytest.raises(JobRefusedError) as refused:
        checked_resources(engine(**ALLOWED), {"num_nodes": 2, "launcher_options": options})
    assert "possible are: --exclusive, --cpu-bind=*, -bind-to *." in refused.value.public


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "exclusive",
        "--x y",
        "--x=y",
        "--x *y",
        "--x  *",
        "-",
        "--x;id",
        "--x\n#PBS",
        "--$(id)",
    ],
)
def test_the_list_holds_options_alone(entry: str) -> None:
    with pytest.raises(rendered.ConfigInvalidError, match="an option such as"):
        engine(**{**MPI, "allowed_launcher_options": [entry]})


@pytest.mark.parametrize(
    "launcher", ["mpiexec; id", "mpiexec -n 1", "/tmp/mpiexec", "mpirun", "", None, "$(id)"]
)
def test_the_launcher_is_one_of_three_words(launcher: str | None) -> None:
    with pytest.raises(rendered.ConfigInvalidError, match="mpi_launcher"):
        engine(**{**MPI, "mpi_launcher": launcher})


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
    # Workers that wait for a launcher are as many as were said, on however few cores.
    assert (float(read.cores_per_worker) < 1e-6, read.mem_per_worker) == (True, "None")
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
