"""What becomes of tasks whose nodes are jobs of PBS, on a real one or on the lab's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.system.pbs.clusters import Cluster, play

from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
EMPTY_S = 60.0
Ends = dict[str, dict[str, Any]]


def engine(cluster: Cluster, kind: str = "PBSProProvider", **provider: Any) -> dict[str, Any]:
    queue = {"queue": cluster.queue} if cluster.queue else {}
    return {
        "type": "GlobusComputeEngine",
        "max_workers_per_node": 1,
        "provider": {
            "type": kind,
            "init_blocks": 0,
            "max_blocks": 1,
            "walltime": "00:05:00",
            "launcher": {"type": "SimpleLauncher"},
            **queue,
            **provider,
        },
    }


@pytest.fixture(scope="module")
def ends(cluster: Cluster) -> Iterator[Ends]:
    """How each of the tasks ended, which all ran at the same time."""
    asked: dict[str, dict[str, Any]] = {
        "hello": {"engine": engine(cluster)},
        "torque": {"engine": engine(cluster, "TorqueProvider")},
        "wrong queue": {"engine": engine(cluster, queue="nowhere")},
        "wrong queue, torque": {"engine": engine(cluster, "TorqueProvider", queue="nowhere")},
        "deleted": {"engine": engine(cluster), "seconds": 300.0, "delete": True},
        "walltime": {"engine": engine(cluster, walltime="00:01:00"), "seconds": 300.0},
    }
    with ThreadPoolExecutor(len(asked)) as pool:
        futures = {name: pool.submit(play, cluster, **case) for name, case in asked.items()}
        yield {name: future.result() for name, future in futures.items()}


@pytest.mark.parametrize("name", ["hello", "torque"])
def test_a_task_runs_in_a_job_as_the_account(cluster: Cluster, ends: Ends, name: str) -> None:
    result = ends[name]["result"]
    assert str(result["uid"]) == cluster.run(["id", "-u"]).strip()
    assert result["job"]


@pytest.mark.parametrize("name", ["wrong queue", "wrong queue, torque"])
def test_a_queue_that_is_not_there_is_told_in_the_schedulers_words(ends: Ends, name: str) -> None:
    said = ends[name]["error"]
    assert "did not take the job" in said
    # OpenPBS has a queue where Slurm has a partition.
    assert "queue" in said.lower() or "invalid partition" in said


def test_a_deleted_job_is_told_as_cancelled(ends: Ends) -> None:
    assert "cancelled" in ends["deleted"]["error"]


def test_a_job_whose_walltime_is_over_is_told_as_that(ends: Ends) -> None:
    assert "walltime" in ends["walltime"]["error"]
    assert "was over" in ends["walltime"]["error"]


def test_the_queue_is_empty_afterwards(cluster: Cluster, ends: Ends) -> None:
    assert ends
    jobs = ["qselect", "-u", cluster.user]
    assert wait_until(lambda: cluster.run(jobs).split() == [], EMPTY_S)
