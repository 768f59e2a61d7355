"""The real launcher on a disk that is full: what is not noted does not happen, or is told."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import UEP
from tests.privilege.conftest import processes_of
from tests.privilege.launcher_process import LauncherProcess

from chamberlain_endpoint.launcher.client import LauncherRefusedError
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_wire import audit_chain
from chamberlain_wire.errors import ErrorCode

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


@pytest.fixture
def launcher(open_folder: Path, other_account: Account) -> Iterator[LauncherProcess]:
    made = LauncherProcess(open_folder, other_account)
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


def fill(launcher: LauncherProcess) -> None:
    """Make the log longer than any other file of the launcher, then let it grow no more."""
    refused = launcher.hub.token(username="mallory@elsewhere.org").encode()
    while launcher.audit.stat().st_size < 100_000:
        with contextlib.suppress(LauncherRefusedError):
            launcher.client.admit(refused)
    assert launcher.process is not None
    size = launcher.audit.stat().st_size
    resource.prlimit(launcher.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def empty(launcher: LauncherProcess) -> None:
    assert launcher.process is not None
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(launcher.process.pid, resource.RLIMIT_FSIZE, endless)


def test_on_a_full_disk_nothing_starts_and_later_it_does(
    launcher: LauncherProcess, account: Account
) -> None:
    launcher.start()
    fill(launcher)
    token = launcher.hub.token(username=f"{account.uname}@example.edu")
    with pytest.raises(LauncherRefusedError) as caught:
        launcher.launch(token)
    assert caught.value.word is ErrorCode.UNAVAILABLE
    assert processes_of(account.uid) == []
    assert [line for line in launcher.log() if line["event"] == "audit.failed"]
    empty(launcher)
    # The same statement still holds: it was not used up by a start that did not happen.
    assert launcher.launch(token) is False
    launcher.client.stop(UEP, grace_s=5.0, why="a test")
    lines = list(audit_chain.entries(launcher.audit))
    assert [line for line in lines if "could not be written" in line.get("reason", "")]
    audit_chain.verify(launcher.audit)


def test_a_site_may_choose_that_work_goes_on(launcher: LauncherProcess, account: Account) -> None:
    launcher.write_config('[audit]\non_write_failure = "continue"')
    launcher.start()
    fill(launcher)
    assert launcher.launch(launcher.hub.token(username=f"{account.uname}@example.edu")) is False
    alarms = [line for line in launcher.log() if line["event"] == "audit.failed"]
    assert {line["level"] for line in alarms} == {"ERROR"}
    empty(launcher)
    launcher.client.stop(UEP, grace_s=5.0, why="a test")
    audit_chain.verify(launcher.audit)
