"""The whole engine on jobs of a scheduler: interchange, job script, workers, a task and its end."""

from __future__ import annotations

import os
import re
import sys
import time
import venv
from pathlib import Path
from typing import Any

import pytest
from tests.contract.engine.conftest import Running

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.choose import make_engine
from chamberlain_endpoint.engine.port import Broken
from chamberlain_endpoint.rendered import settled
from devtools.processes import wait_until

WAIT_S = 60.0
NAME = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"

SLOW = """\
import importlib.metadata, time
version = importlib.metadata.version
def slowly(name):
    if name == "chamberlain":
        time.sleep(1)
    return version(name)
importlib.metadata.version = slowly
"""
"""For workers that are connected a while before they can say of which version they are."""


def job_of_the_worker() -> str | None:
    return os.environ.get("JOBNAME")


def started(tmp_path: Path, **changes: Any) -> Running:
    provider = {"type": "SlurmProvider", "launcher": {"type": "SimpleLauncher"}, **changes}
    checked = rendered.parse(
        {
            "engine": {
                "type": "GlobusComputeEngine",
                "address": "127.0.0.1",
                "max_workers_per_node": 1,
                "provider": provider,
            }
        }
    )
    config = settled.read(checked.model_dump(mode="json"))
    one = Running(make_engine(config.engine, run_dir=tmp_path / "local", name=NAME), tmp_path)
    one.engine.start(one.reports.put)
    return one


def broken(one: Running) -> str:
    """Let a task wait; return with what sentence it is given up."""
    one.engine.want(1)
    deadline = time.monotonic() + WAIT_S
    while True:
        report = one.reports.get(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(report, Broken):
            return report.reason


@pytest.mark.slow
def test_three_failed_jobs_open_the_breaker_also_for_the_next_process(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bad = {"worker_init": "echo no such module >&2; exit 3", "init_blocks": 0}
    for _ in range(2):
        one = started(tmp_path, **bad)
        try:
            for _ in range(2):
                said = broken(one)
                assert "3 blocks in a row failed" in said
                assert "ended with exit code 3" in said
                assert "no such module" in said
                assert one.engine.status().more["breaker"]["state"] == "open"
                assert len(list(jobs.glob("*.pid"))) == 3
        finally:
            one.engine.stop()
    one = started(tmp_path, **bad)
    try:
        # An administrator's word; the process that runs hears it.
        (tmp_path / "breaker.json").unlink()
        assert "3 blocks in a row failed" in broken(one)
        assert len(list(jobs.glob("*.pid"))) == 6
    finally:
        one.engine.stop()
    # Another configuration gets another chance.
    one = started(tmp_path, **{**bad, "walltime": "00:11:00"})
    try:
        assert "3 blocks in a row failed" in broken(one)
        assert len(list(jobs.glob("*.pid"))) == 9
    finally:
        one.engine.stop()


@pytest.mark.slow
def test_a_task_runs_in_a_job_and_the_job_is_cancelled_at_the_end(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    one = started(tmp_path)
    try:
        name = one.call(job_of_the_worker)
        # Whose it is, in which of its lives, and which block.
        assert re.fullmatch(rf"chamberlain\.{NAME}\.[0-9a-f]{{8}}\.0\.[0-9.]+", name)
        assert one.engine.status().more["provider_type"] == "SlurmProvider"
    finally:
        one.engine.stop()
    assert (jobs / "1.cancelled").exists()
    # The scheduler has said that none is left, so nothing is noted any more.
    assert not (tmp_path / "home" / ".chamberlain" / "jobs" / NAME).exists()
    # What other hosts must see is below the home, and nobody else may look at it.
    assert (tmp_path / "home" / ".chamberlain" / "engines" / NAME / "blocks").is_dir()
    assert not (tmp_path / "local").exists()


@pytest.mark.slow
def test_no_task_goes_to_workers_of_another_version(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    venv.create(tmp_path / "other", symlinks=True)
    (packages,) = (tmp_path / "other").glob("lib/python3*/site-packages")
    below = [path for path in sys.path if path]
    (packages / "below.pth").write_text("\n".join([*below, "import slow", ""]))
    (packages / "slow.py").write_text(SLOW)
    about = packages / "chamberlain-9.9.9.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: chamberlain\nVersion: 9.9.9\n")
    env = f"source {tmp_path}/other/bin/activate"
    one = started(tmp_path, worker_init=env, init_blocks=0)
    try:
        assert "Chamberlain 9.9.9" in broken(one)
        # They are connected, and would run a task as well as others; nobody offers them one.
        assert wait_until((jobs / "1.cancelled").exists, WAIT_S)
        assert not wait_until(lambda: one.engine.capacity > 0, 2.0)
        # The next task gets the same answer, instead of waiting for ever.
        assert "Chamberlain 9.9.9" in broken(one)
    finally:
        one.engine.stop()
