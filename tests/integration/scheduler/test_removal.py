"""Jobs of lives that are over are removed, others are not, and silence is no answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.job_notes import JobNotes
from chamberlain_endpoint.scheduler.removal import remove
from devtools.processes import wait_until

UEP = "f1ed41e0-d609-59ae-abce-5d576e9d322a"
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output=/dev/null
#SBATCH --error=/dev/null
exec sleep 600
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return job_notes.place(UEP)


def submit(tmp_path: Path, generation: str) -> str:
    script = tmp_path / "script"
    script.write_text(SCRIPT.format(name=f"chamberlain.{UEP}.{generation}.0.17"))
    said = subprocess.run(["sbatch", script], capture_output=True, text=True, check=True).stdout
    return said.split()[-1]


def life(tmp_path: Path, folder: Path, *, known: bool = True) -> tuple[JobNotes, str]:
    """Return a life of the user endpoint, and its one job, whose id it may have noted."""
    notes = JobNotes(folder, "SlurmProvider")
    notes.asking()
    job = submit(tmp_path, notes.generation)
    if known:
        notes.submitted(job)
    return notes, job


def test_an_earlier_life_goes_and_the_present_one_stays(
    tmp_path: Path, jobs: Path, folder: Path
) -> None:
    _, first = life(tmp_path, folder)
    # Killed between the scheduler's answer and its own note.
    _, second = life(tmp_path, folder, known=False)
    earlier = job_notes.read(folder)
    present, third = life(tmp_path, folder)
    removed = remove(folder, UEP, earlier, within_s=30.0)
    assert removed.is_clean
    assert set(removed.cancelled) == {first, second}
    assert not (jobs / f"{third}.cancelled").exists()
    assert [note.generation for note in job_notes.read(folder)] == [present.generation]
    assert remove(folder, UEP, job_notes.read(folder), within_s=30.0).cancelled == (third,)
    assert not folder.exists()


def test_a_scheduler_that_does_not_answer_keeps_the_notes(
    tmp_path: Path, jobs: Path, folder: Path
) -> None:
    _, job = life(tmp_path, folder)
    squeue = tmp_path / "bin" / "squeue"
    kept = squeue.read_text()
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    removed = remove(folder, UEP, job_notes.read(folder), within_s=1.0)
    assert not removed.is_clean
    assert "Unable to contact" in removed.why
    assert len(job_notes.read(folder)) == 1
    squeue.write_text(kept)
    assert remove(folder, UEP, job_notes.read(folder), within_s=30.0).cancelled == (job,)


def test_the_sweep_says_by_its_exit_code_whether_anything_is_left(
    tmp_path: Path, jobs: Path, folder: Path
) -> None:
    _, job = life(tmp_path, folder)
    words = [sys.executable, "-m", "chamberlain_endpoint.scheduler.sweep", UEP]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (0, f"cancelled: {job}; left: none\n")
    assert wait_until((jobs / f"{job}.cancelled").exists, 5.0)
    again = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert (again.returncode, again.stderr) == (0, "")


def test_jobs_that_nobody_can_list_are_left_to_themselves(tmp_path: Path, folder: Path) -> None:
    notes = JobNotes(folder, "CondorProvider")
    notes.asking()
    notes.submitted("7")
    assert remove(folder, UEP, job_notes.read(folder), within_s=1.0).is_clean
    assert not folder.exists()
