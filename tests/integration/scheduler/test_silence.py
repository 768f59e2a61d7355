"""Schedulers that do not answer: nothing is known then, and nothing has ended."""

from __future__ import annotations

import os
import queue
import time
from pathlib import Path

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.rendered.settled_nodes import SlurmProvider
from chamberlain_endpoint.scheduler import commands
from chamberlain_endpoint.scheduler.batch import BatchBlocks
from chamberlain_endpoint.scheduler.port import BlockEnded, SchedulerSilentError
from chamberlain_endpoint.scheduler.slurm_truth import SlurmTruth
from devtools.processes import wait_until

NAME = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
WAIT_S = 30.0
AWAY = "Unable to contact slurm controller (connect failure)"


@pytest.fixture
def config() -> SlurmProvider:
    provider = {
        "type": "SlurmProvider",
        "launcher": {"type": "SimpleLauncher"},
        "cmd_timeout": 1,
    }
    checked = rendered.parse({"engine": {"type": "GlobusComputeEngine", "provider": provider}})
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    assert isinstance(engine.provider, SlurmProvider)
    return engine.provider


def program(jobs: Path, name: str, text: str) -> Path:
    """Put a program in the place of a stand-in; return what to move back."""
    file = jobs.parent / "bin" / name
    kept = file.with_suffix(".kept")
    file.rename(kept)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return kept


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SchedulerSilentError, match="no answer within"):
        commands.run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"], limit_s=0.5)
    assert time.monotonic() - began < WAIT_S
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not alive(pid), WAIT_S)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_program_that_is_missing_is_silence() -> None:
    with pytest.raises(SchedulerSilentError, match="no-such-program"):
        commands.run(["no-such-program"], limit_s=1.0)


@pytest.mark.parametrize("text", [f"echo '{AWAY}' >&2; exit 1", "exec sleep 600"])
def test_a_silent_scheduler_ends_no_job(
    tmp_path: Path, jobs: Path, config: SlurmProvider, text: str
) -> None:
    blocks = BatchBlocks(config, run_dir=tmp_path / "run", name=NAME, period_s=0.1)
    ends: queue.SimpleQueue[BlockEnded] = queue.SimpleQueue()
    blocks.launch("0", "sleep 600", ends.put)
    assert wait_until(lambda: blocks.state().blocks[0].state == "running", WAIT_S)
    kept = program(jobs, "squeue", text)
    assert wait_until(lambda: blocks.state().silence != "", WAIT_S)
    assert (blocks.state().blocks[0].state, ends.empty()) == ("running", True)
    kept.replace(jobs.parent / "bin" / "squeue")
    assert wait_until(lambda: blocks.state().silence == "", WAIT_S)
    os.system("scancel 1")
    assert ends.get(timeout=WAIT_S).again is False
    blocks.stop()


def test_a_submission_without_an_answer_is_found_again_and_not_repeated(
    tmp_path: Path, jobs: Path, config: SlurmProvider
) -> None:
    """The controller took the job, and the answer was lost."""
    blocks = BatchBlocks(config, run_dir=tmp_path / "run", name=NAME, period_s=0.1)
    ends: queue.SimpleQueue[BlockEnded] = queue.SimpleQueue()
    real = jobs.parent / "real" / "sbatch"
    real.parent.mkdir()
    # The stand-ins go by their own name.
    program(jobs, "sbatch", f'{real} "$1" >/dev/null\nexec sleep 600').rename(real)
    with pytest.raises(SchedulerSilentError):
        blocks.launch("0", "sleep 600", ends.put)
    assert len(list(jobs.glob("*.pid"))) == 1
    assert blocks.state().silence != ""
    name = next(file.name for file in (tmp_path / "run").iterdir() if NAME in file.name)
    kept = program(jobs, "squeue", f'case "$*" in *%j*) echo "1|{name}";; *) exit 1;; esac')
    blocks.launch("0", "sleep 600", ends.put)
    kept.replace(jobs.parent / "bin" / "squeue")
    assert len(list(jobs.glob("*.pid"))) == 1
    assert wait_until(lambda: blocks.state().blocks[0].state == "running", WAIT_S)
    blocks.stop()
    assert (jobs / "1.cancelled").exists()


def test_a_job_that_the_queue_has_forgotten_is_looked_up(jobs: Path, config: SlurmProvider) -> None:
    kept = program(jobs, "squeue", "echo 'error: Invalid job id specified' >&2; exit 1")
    (jobs / "7.rc").write_text("3")
    said = SlurmTruth(config).ask(["7"])["7"]
    assert (said.end, said.exit_code) == ("failed", 3)
    assert kept.exists()
