"""What is tied to a process goes when that process goes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chamberlain_endpoint.engine import tether
from chamberlain_endpoint.scheduler.ending import how_it_ended

GRANDCHILD = "setsid sleep 3600 & echo $! > pid; mv pid ready; wait"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for one in made:
        one.kill()
        one.wait()


def await_pid(folder: Path) -> psutil.Process:
    deadline = time.monotonic() + 10.0
    while not (folder / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return psutil.Process(int((folder / "ready").read_text()))


def test_kept_it_ends_with_the_code_of_its_command() -> None:
    done = subprocess.run(tether.words("keep", "sh", "-c", "exit 7"), check=False)
    assert done.returncode == 7
    done = subprocess.run(tether.words("keep", "sh", "-c", "kill -9 $$"), check=False)
    assert how_it_ended(done.returncode) == "was killed by SIGKILL"


def test_kept_everything_below_it_goes_with_its_command(tmp_path: Path) -> None:
    script = "setsid sleep 3600 & echo $! > ready"
    subprocess.run(tether.words("keep", "sh", "-c", script), cwd=tmp_path, check=True)
    assert not psutil.pid_exists(int((tmp_path / "ready").read_text()))


def test_kept_everything_goes_on_sigterm(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    process = subprocess.Popen(tether.words("keep", "sh", "-c", GRANDCHILD), cwd=tmp_path)
    started.append(process)
    grandchild = await_pid(tmp_path)
    process.send_signal(signal.SIGTERM)
    process.wait(10.0)
    assert psutil.wait_procs([grandchild], timeout=5.0)[1] == []


@pytest.mark.parametrize("mode", ["keep", "exec"])
def test_tied_it_goes_when_who_started_it_is_killed(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], mode: str
) -> None:
    command = ["sh", "-c", GRANDCHILD if mode == "keep" else "echo $$ > pid; mv pid ready; read x"]
    program = (
        "import subprocess, sys; from chamberlain_endpoint.engine import tether; "
        f"subprocess.Popen(tether.words({mode!r}, *{command!r}), stdin=subprocess.PIPE).wait()"
    )
    owner = subprocess.Popen([sys.executable, "-I", "-c", program], cwd=tmp_path)
    started.append(owner)
    last = await_pid(tmp_path)
    owner.kill()
    owner.wait()
    assert psutil.wait_procs([last], timeout=5.0)[1] == []


def test_started_by_somebody_who_is_gone_it_does_not_begin() -> None:
    words = tether.words("exec", "sh", "-c", "exit 0")
    words[4] = "1"  # not our parent
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (7, "ended with exit code 7"),
        (-9, "was killed by SIGKILL"),
        (137, "was killed by SIGKILL"),
        (255, "ended with exit code 255"),
        (-200, "ended with exit code -200"),
    ],
)
def test_an_end_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words
