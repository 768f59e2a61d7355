"""What a Slurm with accounts, associations and qualities of service refuses, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.lab.slurm.conftest import Slurm, block_of

from devtools.lab import books
from devtools.lab.plan import LOGIN
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
LIMITS = {
    "open": "",
    "few": "MaxSubmitJobs=1",
    "busy": "GrpTRES=cpu=1",
    "brief": "MaxWall=5",
    "narrow": "MaxTRES=node=1",
}
HEARD_S = 120.0


@pytest.fixture(scope="module")
def kept(slurm: Slurm) -> Iterator[Slurm]:
    """The lab's Slurm with accounting, and alice a member of some accounts."""
    slurm.wait_empty()
    names = ",".join(LIMITS)
    commands = [
        f"add account {names}",
        f"add user alice account={names}",
        *(f"modify account {name} set {limit}" for name, limit in LIMITS.items() if limit),
        "add qos hurry set MaxWall=3",
        "modify user alice set qos+=hurry",
    ]
    with books.kept(slurm.lab, commands, Reporter()):
        yield slurm
        slurm.stop_all()
        slurm.run("scancel", "--user=alice")
        slurm.wait_empty()


@pytest.fixture(scope="module")
def told(kept: Slurm) -> dict[str, Any]:
    """What became of jobs against each limit, and how one was shown while it waited."""
    for account in ("few", "busy"):
        words = ["sbatch", "-o", "/dev/null", "--chdir=/tmp", "-t", "9", "-A", account]
        words += ["--wrap", "sleep 600"]
        kept.run(*words, host=LOGIN, user="alice")
    wide = {"NODES": 2, "ACCOUNT": "narrow", "WALLTIME": "00:10:00"}
    hurry = {"ACCOUNT": "open", "QOS": "hurry", "WALLTIME": "00:11:00"}
    cases = {
        "wrong account": {"options": {"ACCOUNT": "nosuch"}},
        "too many jobs": {"options": {"ACCOUNT": "few"}},
        "too long": {"options": {"ACCOUNT": "brief", "WALLTIME": "00:12:00"}},
        "too wide": {"options": wide},
        "too long for a quality": {"options": hurry},
        "wrong quality": {"options": {"ACCOUNT": "open", "QOS": "nosuch"}},
        "waits": {"options": {"ACCOUNT": "busy", "WALLTIME": "00:13:00"}},
    }
    begun = kept.begin(cases, limit_s=150.0)
    job = kept.live("13:00", "PENDING")
    shown: list[dict[str, Any]] = []

    def is_shown() -> bool:
        shown[:] = [block_of(kept, job)]
        return bool(shown[0].get("reason"))

    assert wait_until(is_shown, HEARD_S)
    kept.run("scancel", "--account=busy", "--state=RUNNING")
    return {**begun.result(), "shown": shown[0]}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            "wrong account",
            ["Invalid account or account/partition combination", "Check the account's name"],
        ),
        (
            "too many jobs",
            ["AssocMaxSubmitJobLimit", "Wait until others of your jobs have ended"],
        ),
        (
            "too long",
            ["asks for more than one job may have (AssocMaxWallDurationPerJobLimit)"],
        ),
        ("too wide", ["asks for more than one job may have (AssocMaxNodePerJobLimit)"]),
        (
            "too long for a quality",
            ["(QOSMaxWallDurationPerJobLimit)", "Ask for less (nodes, cores, memory or walltime)"],
        ),
        ("wrong quality", ["Invalid qos specification", "Check the quality of service"]),
    ],
)
def test_the_future_says_why(told: dict[str, Any], case: str, words: list[str]) -> None:
    answer = told[case]
    assert answer["results"] == []
    assert all(one in answer["error"] for one in words), answer["error"]


def test_who_waits_for_the_groups_limit_is_shown_and_runs_when_it_is_free(
    told: dict[str, Any],
) -> None:
    assert told["shown"]["state"] == "queued"
    assert told["shown"]["reason"] == "AssocGrpCpuLimit"
    assert "waits for a limit of your group's or account's" in told["shown"]["meaning"]
    assert told["waits"]["error"] is None, told["waits"]
    assert len(told["waits"]["results"]) == 1
