"""Real accounts, and a folder that they can reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import STAND_IN

from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.protocol import Account


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account `chtesta` in the groups `chtesta` and `chtestg`, with no shell."""
    yield from _account("chtesta")


@pytest.fixture(scope="session")
def other_account() -> Iterator[Account]:
    """A second account, `chtestb`."""
    yield from _account("chtestb")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of root's that every account may pass; with a copy of the stand-in."""
    folder = Path(tempfile.mkdtemp(prefix="chtest-"))
    folder.chmod(0o711)
    script = folder / STAND_IN.name
    shutil.copy(STAND_IN, script)
    script.chmod(0o644)
    yield folder
    shutil.rmtree(folder)


def _account(name: str) -> Iterator[Account]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    run = [["groupadd", "-f", "chtestg"], ["useradd", "-M", "-U", "-G", "chtestg", name]]
    run[1] += ["-s", "/usr/sbin/nologin", "-c", 'Test, "Q" $(id)', "-K", "UID_MIN=20000"]
    for command in run:
        subprocess.run(command, check=True, capture_output=True)
    try:
        yield look_up(name)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
        subprocess.run(["groupdel", "chtestg"], check=False, capture_output=True)


def processes_of(uid: int) -> list[int]:
    """Return the processes whose real uid is `uid`, as the kernel tells."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if int(lines["Uid"].split()[0]) == uid and not lines["State"].startswith("Z"):
                found.append(int(entry.name))
    return sorted(found)


def until(is_so: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Return when `is_so()`, looked at every 20 ms."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
