"""Stand-ins for Slurm's programs, which run each job as a process of this host; and programs that
answer as a test says."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Write = Callable[[str, str], None]

STAND_IN = """\
#!{python}
import getpass, os, pathlib, re, signal, subprocess, sys
jobs = pathlib.Path({jobs!r})
me = pathlib.Path(sys.argv[0]).name

def state(job):
    if (jobs / (job + ".cancelled")).exists():
        return "CANCELLED by 1000"
    try:
        return "COMPLETED" if (jobs / (job + ".rc")).read_text() == "0" else "FAILED"
    except FileNotFoundError:
        return "RUNNING"

if me == "sbatch":
    text = pathlib.Path(sys.argv[1]).read_text()
    if "partition=closed" in text:
        sys.exit("sbatch: error: invalid partition specified: closed")
    job = str(len(list(jobs.glob("*.pid"))) + 1)
    out = re.search("^#SBATCH --output=(.*)$", text, re.M)[1]
    err = re.search("^#SBATCH --error=(.*)$", text, re.M)[1]
    rc = jobs / (job + ".rc")
    run = subprocess.Popen(
        ["bash", "-c", 'bash "$1" > "$2" 2> "$3"; echo -n $? > "$4.new"; mv "$4.new" "$4"', "job",
         sys.argv[1], out, err, str(rc)],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    (jobs / (job + ".name")).write_text(re.search("^#SBATCH --job-name=(.*)$", text, re.M)[1])
    (jobs / (job + ".pid")).write_text(str(run.pid))
    print("Submitted batch job " + job)
elif me == "squeue" and "-j" not in sys.argv:
    for pid in jobs.glob("*.pid"):
        if state(pid.stem) == "RUNNING":
            name = (jobs / (pid.stem + ".name")).read_text()
            print(pid.stem, "RUNNING", getpass.getuser(), name)
elif me == "squeue":
    for job in sys.argv[sys.argv.index("-j") + 1].split(","):
        print(job + "|" + state(job).split()[0] + "|None|")
elif me == "scontrol":
    job = sys.argv[-1]
    rc = jobs / (job + ".rc")
    code = rc.read_text() if rc.exists() else "0"
    said = "JobState=" + state(job).split()[0] + " Reason=None"
    print("JobId=" + job, said, "ExitCode=" + code + ":0")
elif me == "scancel":
    for job in sys.argv[1:]:
        (jobs / (job + ".cancelled")).touch()
        os.killpg(int((jobs / (job + ".pid")).read_text()), signal.SIGKILL)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stand-ins in PATH, and their folder of jobs."""
    programs, folder = tmp_path / "bin", tmp_path / "jobs"
    programs.mkdir()
    folder.mkdir()
    text = STAND_IN.format(python=sys.executable, jobs=str(folder))
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    yield folder
    for pid in folder.glob("*.pid"):
        if not (folder / f"{pid.stem}.rc").exists():
            assert (folder / f"{pid.stem}.cancelled").exists(), f"job {pid.stem} is left behind"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Put programs first in PATH; each notes its arguments in the file `asked`."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(name: str, script: str) -> None:
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/asked\n{script}\n')
        file.chmod(0o755)

    return put
