"""Blocks that fail again and again are not asked for any more, until somebody says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lab.slurm.conftest import PROGRAM, Slurm, status

from devtools.lab.plan import LOGIN
from devtools.lab.rollout import ENDPOINT

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
BAD = {"options": {"BAD": 1, "WALLTIME": "00:21:00"}}
MOST_S = 10.0


def jobs(slurm: Slurm) -> int:
    return len([job for job in slurm.jobs() if job.limit == "21:00"])


def ask(slurm: Slurm) -> dict[str, Any]:
    return slurm.ask({"bad": BAD})["bad"]


def test_a_breaker_opens_holds_over_a_restart_and_closes_when_it_is_told_to(slurm: Slurm) -> None:
    slurm.reset()
    before = jobs(slurm)
    answer = ask(slurm)
    assert "3 blocks in a row failed" in answer["error"]
    assert "ended with exit code 3 on node" in answer["error"]
    assert "Lmod: module fancy is not known" in answer["error"]
    assert jobs(slurm) == before + 3

    again = ask(slurm)
    assert "3 blocks in a row failed" in again["error"]
    assert again["seconds"] < MOST_S
    assert jobs(slurm) == before + 3

    [breaker] = [one for one in slurm.reset("--look") if one["state"] == "open"]
    assert (breaker["account"], breaker["failures"]) == ("alice", 3)
    state = status(slurm, breaker["user_endpoint"])
    assert state["breaker"]["state"] == "open"
    assert "module fancy" in state["breaker"]["reason"]

    stop = ("user-endpoints", "stop", ENDPOINT, breaker["user_endpoint"])
    slurm.run(PROGRAM, *stop, host=LOGIN)
    assert "3 blocks in a row failed" in ask(slurm)["error"]
    assert jobs(slurm) == before + 3

    assert slurm.reset("--account", "bob") == []
    reset = slurm.reset("--user-endpoint", breaker["user_endpoint"])
    assert [one["user_endpoint"] for one in reset] == [breaker["user_endpoint"]]
    assert "3 blocks in a row failed" in ask(slurm)["error"]
    assert jobs(slurm) == before + 6
