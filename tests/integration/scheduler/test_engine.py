"""The whole engine on jobs of a scheduler: interchange, job script, workers, a task and its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.contract.engine.conftest import Running

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.choose import make_engine
from chamberlain_endpoint.rendered import settled

NAME = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"


def job_of_the_worker() -> str | None:
    return os.environ.get("JOBNAME")


@pytest.mark.slow
def test_a_task_runs_in_a_job_and_the_job_is_cancelled_at_the_end(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    provider = {"type": "SlurmProvider", "launcher": {"type": "SimpleLauncher"}}
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
    try:
        name = one.call(job_of_the_worker)
        assert name.startswith(f"chamberlain.{NAME}.0.")
        assert one.engine.status().more["provider_type"] == "SlurmProvider"
    finally:
        one.engine.stop()
    assert (jobs / "1.cancelled").exists()
    # What other hosts must see is below the home, and nobody else may look at it.
    assert (tmp_path / "home" / ".chamberlain" / "engines" / NAME / "blocks").is_dir()
    assert not (tmp_path / "local").exists()
