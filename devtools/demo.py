"""`./dev demo`: two people, two local accounts, for real; and a third person refused."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from devtools import debian, demo_runs, programs
from devtools.accounts import MadeAccounts, exists
from devtools.demo_runs import Call
from devtools.paths import ROOT
from devtools.processes import standing_below
from devtools.say import CannotGoOnError, Reporter
from devtools.site import Plan, Site

ALICE, BOB, MALLORY = "alice@example.edu", "bob@example.edu", "mallory@elsewhere.org"
_HUB_ACCOUNT = "chamberlain-hub"
_SERVICE_ACCOUNT = "chamberlain"  # configure makes it
_THREADS: Mapping[str, str | int] = {"ENGINE": "threads"}
_BLOCKS: Mapping[str, str | int] = {"ENGINE": "htex", "MAX_WORKERS": 2}


class DemoRunsAlreadyError(CannotGoOnError):
    """Another `./dev demo` is at work in the same folder."""


def folder() -> Path:
    """Return where the demo keeps everything: a folder that all accounts can enter, for root."""
    if named := os.environ.get("CHAMBERLAIN_DEMO_DIR"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/opt/chamberlain-demo")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "chamberlain-demo"


class Demo:
    """The demo below one folder."""

    def __init__(self, where: Path, report: Reporter) -> None:
        self._where = where
        self._report = report
        self._multi = os.geteuid() == 0
        self._made = MadeAccounts(where / "accounts.json")

    def run(self, *, keep: bool) -> tuple[list[demo_runs.Run], Site]:
        """Build what is absent, make the calls, and stop everything unless `keep`.

        A demo that was kept running is used as it is, and goes on running.
        """
        debian.ensure(["rabbitmq-server"], self._report)
        self._where.mkdir(mode=0o755, parents=True, exist_ok=True)
        installed = programs.install(self._where / "venv", self._report)
        site = Site(self._where / "site", installed, self._plan())
        kept = site.runs
        try:
            if kept:
                self._report.line("The demo that was kept running is used.")
            else:
                self._fresh(site)
                site = Site(self._where / "site", installed, self._plan())
                site.start(self._report)
            runs = demo_runs.carry_out(site, self._calls(), self._report)
        except BaseException:
            self._stop(site)
            raise
        if not keep and not kept:
            self._stop(site)
        return runs, site

    def down(self) -> list[str]:
        """Remove all that the demo made; return what was removed, in words."""
        removed: list[str] = []
        installed = programs.Programs(self._where / "venv")
        if (self._where / "site").exists():
            self._stop(Site(self._where / "site", installed, self._plan()))
            removed.append("its processes")
        names = self._made.remove_all()
        removed += [f"the account {name}" for name in names]
        if self._where.exists():
            shutil.rmtree(self._where)
            removed.append(f"the folder {self._where}")
        return removed

    def _plan(self) -> Plan:
        if self._multi:
            people = {ALICE: "demo-alice", BOB: "demo-bob", MALLORY: None}
            return Plan(True, people, owner=ALICE, hub_account=_HUB_ACCOUNT)
        me = getpass.getuser()
        return Plan(False, {ALICE: me, BOB: None, MALLORY: None}, owner=ALICE)

    def _calls(self) -> list[Call]:
        return [
            Call(ALICE, _THREADS),
            Call(BOB, _THREADS, succeeds=self._multi),
            Call(ALICE, _BLOCKS),
            Call(BOB, _BLOCKS, succeeds=self._multi),
            Call(MALLORY, _THREADS, succeeds=False),
        ]

    def _fresh(self, site: Site) -> None:
        """End and remove what an earlier demo left, and make the accounts that are absent."""
        if site.folder.exists():
            with self._report.step("Removing what an earlier demo left"):
                self._stop(site, quiet=True)
                shutil.rmtree(site.folder)
        if not self._multi:
            self._report.line(
                "Not root: this is the single-account form. User endpoints run as "
                f"{getpass.getuser()}, for {ALICE} alone; everybody else is refused."
            )
            return
        homes = self._where / "homes"
        homes.mkdir(mode=0o755, exist_ok=True)
        with self._report.step("Making the accounts that are absent"):
            self._made.ensure(_HUB_ACCOUNT)
            if not exists(_SERVICE_ACCOUNT):
                self._made.claim(_SERVICE_ACCOUNT)
            for account in self._plan().people.values():
                if account is not None:
                    self._made.ensure(account, homes / account)

    def _stop(self, site: Site, *, quiet: bool = False) -> None:
        with contextlib.nullcontext() if quiet else self._report.step("Stopping everything"):
            # Ctrl-C a second time must not leave half of it running.
            with _deaf_to_interrupts():
                site.stop()
            left = standing_below(self._where)
        if left:
            self._report.line(f"Still there: process {', '.join(map(str, left))}")


@contextlib.contextmanager
def alone(where: Path) -> Iterator[None]:
    """Hold the demo of folder `where` for ourselves.

    Raises:
        DemoRunsAlreadyError: another one is at work there.
    """
    where.parent.mkdir(parents=True, exist_ok=True)
    lock = where.with_name(f".{where.name}.lock")
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoRunsAlreadyError(f"Another ./dev demo is at work in {where}.") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn a hang-up and a polite end into an exception, so that clean-up happens."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {sign: signal.signal(sign, leave) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in signs}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def how_to_use(site: Site) -> str:
    """Return what to type in another terminal while the demo is kept running."""
    return (
        "\nThe demo goes on running. In another terminal:\n\n"
        f"  export CHAMBERLAIN_HUB_URL={site.hub_url}\n"
        f"  export CHAMBERLAIN_TOKEN={site.tokens[ALICE]}   # {ALICE}\n"
        f"  {site.programs.python} {ROOT}/examples/hello.py {site.endpoint_id}\n"
        f"  {site.programs.folder}/bin/chamberlain whoami\n"
        f"  {site.programs.endpoint} list --config-dir {site.config_dir}\n\n"
        f"{BOB}: CHAMBERLAIN_TOKEN={site.tokens[BOB]}\n"
        "To end it and remove all of it: ./dev demo --down\n"
    )
