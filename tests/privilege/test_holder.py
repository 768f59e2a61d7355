"""The process that holds a session for a container. Another program stands for the container."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.privilege.conftest import until
from tests.privilege.pam_service import PERMIT, SESSION, Witness, service
from tests.privilege.test_pam import is_hanging, write_limits

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.runtime import held_session
from chamberlain_endpoint.launcher.runtime.held_session import HeldSession, Listener, Opened
from chamberlain_endpoint.launcher.settings import PamSettings
from chamberlain_wire.errors import ErrorCode

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

GENERATION = "0123456789abcdef"
DEADLINE_S = 25.0


class Stand:
    """A launcher with one session, and a program in place of the container."""

    def __init__(self, folder: Path, account: Account) -> None:
        self.folder = folder
        self.account = account
        self.sessions = folder / "sessions"
        self.lease = folder / "lease"
        self.lease.touch()
        self.loop = Loop()
        self.session = HeldSession(self.loop, self.sessions, GENERATION)
        self.opened: list[Opened] = []
        self.refused: list[dict[str, Any]] = []
        self.ends: list[str] = []
        self.program = subprocess.Popen(["/bin/sleep", "600"])

    def open(self, pam: PamSettings) -> None:
        listener = Listener(self.opened.append, self.refused.append)
        self.session.open(pam, self.account.uname, self.lease, listener)

    def tell(self) -> None:
        """Say which process it is, as the launcher does when the container runs."""
        pidfd = os.pidfd_open(self.program.pid)
        self.session.tell_process(pidfd)
        os.close(pidfd)

    def end(self) -> str:
        self.session.end(self.ends.append)
        self.until(lambda: bool(self.ends))
        return self.ends[0]

    def until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < end, "it did not happen in time"
            self.loop.call_later(0.02, lambda: None)
            self.loop.turn()

    def until_open(self) -> Opened:
        self.until(lambda: bool(self.opened or self.refused))
        assert self.refused == []
        return self.opened[0]

    def next_launcher(self) -> None:
        """Go on as another launcher, which knows the generation alone."""
        self.session.leave()
        self.session = HeldSession(self.loop, self.sessions, GENERATION)

    def close(self) -> None:
        self.lease.unlink(missing_ok=True)
        self.program.kill()
        self.program.wait()
        self.session.leave()
        until(lambda: holders() == [])
        self.loop.close()


def holders() -> list[int]:
    """Return what runs as a holder of this test's; other tests' hosts show theirs in /proc, too."""
    name = "chamberlain_endpoint.launcher.runtime.holder"
    return [
        one.pid
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and name in one.cmdline()
    ]


@pytest.fixture
def stand(open_folder: Path, account: Account) -> Iterator[Stand]:
    made = Stand(open_folder, account)
    yield made
    made.close()


def test_it_is_open_for_as_long_as_the_process_lives(stand: Stand) -> None:
    witness = Witness(stand.folder, stand.account.uid)
    with service(PERMIT, witness.line) as pam:
        stand.open(pam)
        stand.until_open()
        stand.tell()
        # The launcher's end of the talk is over: what it holds from now on is nothing.
        stand.next_launcher()
        assert stand.session.is_held()
        assert [line[0] for line in witness.seen()] == ["open_session"]
        stand.program.kill()
        until(lambda: not stand.session.is_held())
        # What ended in order was not lost, though nobody holds it.
        assert not stand.session.is_lost()
        assert stand.end() == "closed"
    assert [line[0] for line in witness.seen()] == ["open_session", "close_session"]
    assert list(stand.sessions.iterdir()) == []


def test_limits_and_variables_of_the_session_are_told(stand: Stand) -> None:
    limits = write_limits(stand.folder, stand.account)
    conf = stand.folder / "pam_env.conf"
    conf.write_text("SCRATCH DEFAULT=/scratch/$USER\nLD_PRELOAD DEFAULT=/evil\n")
    lines = (
        f"session required pam_limits.so conf={limits}",
        f"session required pam_env.so conffile={conf} readenv=0",
    )
    with service(PERMIT, *lines) as pam:
        stand.open(pam)
        told = stand.until_open()
    assert told.limits == {"nofile": (301, 402)}
    assert told.environment.keys() == {"SCRATCH"}


def test_where_no_container_comes_it_is_closed_with_the_lease(stand: Stand) -> None:
    witness = Witness(stand.folder, stand.account.uid)
    with service(PERMIT, witness.line) as pam:
        stand.open(pam)
        stand.until_open()
        stand.next_launcher()
        time.sleep(1.5)
        assert stand.session.is_held()
        stand.lease.unlink()
        assert stand.end() == "closed"
    assert [line[0] for line in witness.seen()] == ["open_session", "close_session"]


def test_without_any_launcher_nothing_of_it_stays(stand: Stand) -> None:
    with service(PERMIT, SESSION) as pam:
        stand.open(pam)
        stand.until_open()
        stand.tell()
        stand.session.leave()
        stand.program.kill()
        until(lambda: holders() == [] and list(stand.sessions.iterdir()) == [], DEADLINE_S)


def test_a_refusal_is_told_with_what_the_caller_may_know(stand: Stand) -> None:
    notice = stand.folder / "nologin"
    notice.write_text("Maintenance until noon.\n")
    with service(f"account required pam_nologin.so file={notice}", SESSION) as pam:
        stand.open(pam)
        stand.until(lambda: bool(stand.refused))
    (told,) = stand.refused
    assert told["code"] == ErrorCode.ACCOUNT_REFUSED
    assert told["public"].endswith("Maintenance until noon.")
    assert "pam_acct_mgmt: PAM_AUTH_ERR" in told["failed"]
    stand.until(lambda: holders() == [] and list(stand.sessions.iterdir()) == [])


def test_a_module_that_hangs_ends_in_time(stand: Stand) -> None:
    hang = "account required pam_exec.so /bin/sleep 3600"
    with service(hang, SESSION, timeout_s=1.0) as pam:
        stand.open(pam)
        stand.until(lambda: bool(stand.refused))
    assert "pam_acct_mgmt did not end within 1 s" in stand.refused[0]["failed"]
    stand.until(lambda: holders() == [] and list(stand.sessions.iterdir()) == [])
    assert not any(is_hanging(each) for each in Path("/proc").glob("[0-9]*/cmdline"))


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "killed in pam_acct_mgmt"), (signal.SIGTERM, "asked to stop")],
)
def test_who_wants_it_no_more_is_heard_while_it_opens(stand: Stand, number: int, said: str) -> None:
    nap = "account required pam_exec.so /bin/sleep 2"
    with service(nap, SESSION) as pam:
        stand.open(pam)
        until(lambda: len(psutil.Process(holders()[0]).children()) == 1 if holders() else False)
        stand.session.signal(number)
        stand.until(lambda: bool(stand.refused))
    assert said in stand.refused[0]["failed"]
    assert stand.opened == []


def test_an_end_that_hangs_is_told(stand: Stand) -> None:
    script = stand.folder / "hang.sh"
    script.write_text('#!/bin/sh\n[ "$PAM_TYPE" = open_session ] || exec /bin/sleep 3600\n')
    script.chmod(0o755)
    with service(PERMIT, f"session required pam_exec.so {script}") as pam:
        stand.open(pam)
        stand.until_open()
        stand.tell()
        stand.program.kill()
        assert stand.end().startswith("not closed: pam_close_session did not end within 5 s")
    assert list(stand.sessions.iterdir()) == []


def test_one_that_was_killed_is_known_for_it(stand: Stand) -> None:
    with service(PERMIT, SESSION) as pam:
        stand.open(pam)
        stand.until_open()
        stand.tell()
        assert stand.session.is_held()
        (holder,) = holders()
        os.kill(holder, signal.SIGKILL)
        until(stand.session.is_lost)
        held_session.clean(stand.sessions, {GENERATION})
        assert [file.name for file in stand.sessions.iterdir()] == [GENERATION]
        assert stand.end() == "not closed: its holder was killed"
    assert list(stand.sessions.iterdir()) == []


def test_what_a_killed_holder_left_is_removed_by_the_next_launcher(stand: Stand) -> None:
    with service(PERMIT, SESSION) as pam:
        stand.open(pam)
        stand.until_open()
        held_session.clean(stand.sessions, set())
        assert list(stand.sessions.iterdir()) != [], "it is held"
        os.kill(holders()[0], signal.SIGKILL)
        until(lambda: not stand.session.is_held())
        held_session.clean(stand.sessions, set())
    assert list(stand.sessions.iterdir()) == []
    assert stand.end() == "not closed: its holder was killed"


def test_terms_of_others_do_not_end_it(stand: Stand) -> None:
    """A supervisor that asks all of a unit to stop must not take the session from a container."""
    with service(PERMIT, SESSION) as pam:
        stand.open(pam)
        stand.until_open()
        stand.tell()
        os.kill(holders()[0], signal.SIGTERM)
        time.sleep(0.5)
        assert stand.session.is_held()
