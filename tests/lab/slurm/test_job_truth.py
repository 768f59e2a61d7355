"""What becomes of jobs that a real Slurm refuses, holds, ends or loses: the future says it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.lab.slurm.conftest import Slurm

from devtools.lab.plan import HUB
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
LONG = [600.0]
WHEN_PATIENT_S = 60.0


@pytest.fixture(scope="module")
def told(slurm: Slurm) -> Iterator[dict[str, dict[str, Any]]]:
    """What became of jobs that fare badly, all at the same time; an operator is busy meanwhile."""
    slurm.wait_empty()
    cases = {
        "wrong partition": {"options": {"PARTITION": "nosuch"}},
        "closed partition": {"options": {"PARTITION": "closed"}},
        "held by its owner": {"options": {"HOLD": "yes"}},
        "held by an operator": {"options": {"HOLD": "yes", "WALLTIME": "00:11:00"}},
        "too much walltime": {"options": {"PARTITION": "short", "WALLTIME": "01:00:00"}},
        "walltime is over": {"options": {"WALLTIME": "00:01:00"}, "arguments": LONG},
        "operator": {"options": {"WALLTIME": "00:12:00"}, "arguments": LONG},
        "own account": {"options": {"WALLTIME": "00:13:00"}, "arguments": LONG},
    }
    begun = slurm.begin(cases, limit_s=150.0)
    # An operator's hold is over a user's.
    slurm.run("scontrol", "hold", slurm.live("11:00", "PENDING").id)
    slurm.live("12:00")
    slurm.live("13:00")
    # Those two, and the one whose walltime will be over.
    assert wait_until(lambda: sleepers(slurm) == 3, WHEN_PATIENT_S)
    slurm.run("scancel", slurm.live("12:00").id)
    slurm.run("scancel", slurm.live("13:00").id, user="alice")
    yield begun.result()
    slurm.stop_all()
    slurm.wait_empty()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("wrong partition", ["invalid partition specified: nosuch", "Check the partition's name"]),
        ("closed partition", ["asks for a partition that you may not use", "groups allowed"]),
        ("held by its owner", ["never began", "held by its owner's account (JobHeldUser)"]),
        ("held by an operator", ["held by an operator (JobHeldAdmin)", "Ask the administrators"]),
        ("too much walltime", ["PartitionTimeLimit", "Ask for a shorter walltime"]),
        ("walltime is over", ["their walltime (00:01:00) was over while the task ran"]),
        ("operator", ["were cancelled on node", "while the task ran", "Submit again"]),
        ("own account", ["were cancelled on node", "or from your account"]),
    ],
)
def test_the_future_says_what_happened_and_what_to_do(
    told: dict[str, dict[str, Any]], case: str, words: list[str]
) -> None:
    error = told[case]["error"]
    assert error is not None
    assert [word for word in words if word not in error] == [], error


def test_nobody_waits_long_for_a_job_that_would_never_begin(
    told: dict[str, dict[str, Any]],
) -> None:
    for case in ("held by its owner", "held by an operator", "too much walltime"):
        assert told[case]["seconds"] < WHEN_PATIENT_S


def test_a_job_whose_node_fails_says_so(slurm: Slurm) -> None:
    begun = slurm.begin({"lost": {"options": {"WALLTIME": "00:14:00"}, "arguments": LONG}})
    node = slurm.live("14:00").nodes
    wait_running(slurm, begun)
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        error = begun.result()["lost"]["error"]
    finally:
        # It may have come back by itself.
        resume = ["scontrol", "update", f"nodename={node}", "state=resume"]
        slurm.lab.run(HUB, ["timeout", "30", *resume], check=False)
    assert f"were lost with their node on {node}, which failed while the task ran" in error


def test_a_job_that_makes_room_for_another_says_so(slurm: Slurm) -> None:
    spare = {"PARTITION": "spare", "WALLTIME": "00:16:00"}
    begun = slurm.begin({"spare": {"options": spare, "arguments": LONG}})
    wait_running(slurm, begun)
    more = ("sbatch", "--parsable", "-N2", "--exclusive", "-t17", "-p", "lab")
    other = slurm.run(*more, "--chdir=/tmp", "--wrap", "sleep 600").strip()
    try:
        error = begun.result()["spare"]["error"]
    finally:
        slurm.run("scancel", other)
    assert "had to make room" in error
    assert "preempted" in error


def test_a_silent_controller_is_no_end_of_a_job(slurm: Slurm) -> None:
    """The task that runs ends well, and one that comes meanwhile gets its job afterwards."""
    begun = slurm.begin({"runs": {"options": {"WALLTIME": "00:18:00"}, "arguments": [25.0]}})
    wait_running(slurm, begun, 25.0)
    slurm.run("systemctl", "stop", "slurmctld")
    try:
        late = slurm.begin({"late": {"options": {"WALLTIME": "00:19:00"}}})
        answer = begun.result()["runs"]
        assert (answer["error"], len(answer["results"])) == (None, 1)
        assert not late.done()
    finally:
        slurm.run("systemctl", "start", "slurmctld")
    answer = late.result()["late"]
    assert (answer["error"], len(answer["results"])) == (None, 1)


def wait_running(slurm: Slurm, begun: Future[Any], seconds: float = LONG[0]) -> None:
    """Return when a worker has its task."""
    assert wait_until(lambda: sleepers(slurm, seconds) == 1, WHEN_PATIENT_S)
    assert not begun.done()


def sleepers(slurm: Slurm, seconds: float = LONG[0]) -> int:
    """Return how many tasks sleep on the nodes."""
    words = ("sh", "-c", f"pgrep -u alice -fx 'sleep {seconds:g}' | wc -l")
    return sum(int(slurm.run(*words, host=node)) for node in ("node1", "node2"))
