"""The command line of workers, and how many there should be."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.engine.pool_command import (
    blocks_wanted,
    pool_command,
    workers_per_node,
)
from chamberlain_endpoint.rendered import settled

MEETING = Meeting(("10.0.0.1", "10.0.0.2"), 54321, None, 2, 15, Path("/logs"))


def htex(**changes: Any) -> settled.HtexEngine:
    checked = rendered.parse({"engine": {"type": "GlobusComputeEngine", **changes}})
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    return engine


def test_the_workers_read_their_command_as_it_was_meant() -> None:
    # The arguments are another program's; let its own parser be the judge.
    from chamberlain_endpoint.engine.doors import open_lazily

    open_lazily()
    from parsl.executors.high_throughput.process_worker_pool import get_arg_parser

    config = htex(
        max_workers_per_node=3,
        available_accelerators=["a b", "c"],
        mem_per_worker=1.5,
        worker_debug=True,
        worker_logdir_root="/else where",
        cpu_affinity="list:0:1",
        drain_period=60,
    )
    words = shlex.split(pool_command(config, MEETING, block="7", start=["python", "pool"]))
    assert words[:2] == ["python", "pool"]
    read = get_arg_parser().parse_args(words[2:])
    assert read.addresses == "10.0.0.1,10.0.0.2"
    assert read.port == "54321"
    assert read.block_id == "7"
    assert read.cert_dir == "None"
    assert read.max_workers_per_node == "3"
    assert read.available_accelerators == ["a b", "c"]
    assert read.mem_per_worker == "1.5"
    assert read.debug
    assert read.logdir == "/else where"
    assert read.cpu_affinity == "list:0:1"
    assert read.drain_period == "60"
    assert (read.hb_period, read.hb_threshold) == ("2", "15")


@pytest.mark.parametrize(
    ("changes", "cores", "workers"),
    [
        ({}, 8, 8),
        ({"cores_per_worker": 2}, 8, 4),
        ({"cores_per_worker": 16}, 8, 1),
        ({"max_workers_per_node": 3}, 8, 3),
        ({"available_accelerators": 2}, 8, 2),
        ({"available_accelerators": ["0"]}, 8, 1),
    ],
)
def test_workers_of_a_node(changes: dict[str, Any], cores: int, workers: int) -> None:
    assert workers_per_node(htex(**changes), cores=cores) == workers


@pytest.mark.parametrize(
    ("provider", "tasks", "blocks"),
    [
        ({}, 0, 0),
        ({}, 1, 1),
        ({}, 100, 1),
        ({"max_blocks": 5}, 8, 2),
        ({"max_blocks": 5}, 9, 3),
        ({"max_blocks": 5}, 100, 5),
        ({"max_blocks": 5, "min_blocks": 2, "init_blocks": 2}, 0, 2),
        ({"max_blocks": 5, "parallelism": 0.5}, 16, 2),
        ({"max_blocks": 5, "parallelism": 0}, 100, 1),
    ],
)
def test_blocks_for_tasks(provider: dict[str, Any], tasks: int, blocks: int) -> None:
    config = htex(provider={"type": "LocalProvider", **provider})
    assert blocks_wanted(config, tasks=tasks, workers=4) == blocks
