"""Real accounts, and a folder that they can reach."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.launcher_builders import STAND_IN

from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.protocol import Account

if TYPE_CHECKING:
    from tests.privilege.launcher_process import LauncherProcess

GROUP = f"chtestg{os.getpid()}"
"""Other sessions may run at the same time: names carry the session's number."""


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account in a group of its own and in `GROUP`, with no shell."""
    yield from _account(f"chtesta{os.getpid()}")


@pytest.fixture(scope="session")
def other_account() -> Iterator[Account]:
    """A second account like the first."""
    yield from _account(f"chtestb{os.getpid()}")


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
    change_accounts("groupadd", "-f", GROUP)
    change_accounts(
        *("useradd", "-M", "-U", "-G", GROUP, "-K", "UID_MIN=20000"),
        *("-s", "/usr/sbin/nologin", "-c", 'Test, "Q" $(id)', name),
    )
    try:
        yield look_up(name)
    finally:
        change_accounts("userdel", name)


@pytest.fixture(scope="session", autouse=True)
def _no_group_is_left() -> Iterator[None]:
    yield
    if os.geteuid() == 0:
        subprocess.run(["groupdel", GROUP], check=False, capture_output=True)


def change_accounts(*command: str) -> None:
    """Run `command`, again while another program holds the lock on the accounts."""

    def is_done() -> bool:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        assert done.returncode == 0 or "lock" in done.stderr, done.stderr
        return done.returncode == 0

    until(is_done)


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


@pytest.fixture
def launcher(open_folder: Path, other_account: Account) -> Iterator[LauncherProcess]:
    """The real launcher, not started yet; killed at the end of the test."""
    from tests.privilege.launcher_process import LauncherProcess

    made = LauncherProcess(open_folder, other_account)
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


@pytest.fixture
def running(launcher: LauncherProcess) -> LauncherProcess:
    """The real launcher, started."""
    launcher.start()
    return launcher
