"""What the demo and the benchmarks stand on: installed programs, local accounts, one site."""

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

from devtools import debian, programs
from devtools.accounts import MadeAccounts, exists
from devtools.known_site import KnownSite
from devtools.processes import standing_below
from devtools.say import CannotGoOnError, Reporter
from devtools.site import Plan, Site

_HUB_ACCOUNT = "chamberlain-hub"
_SERVICE_ACCOUNT = "chamberlain"  # `chamberlain-endpoint configure` makes it


class StageTakenError(CannotGoOnError):
    """Another command is at work in the same folder."""


def default_folder() -> Path:
    """Return where everything is kept: for root, a folder that all accounts can enter."""
    if named := os.environ.get("CHAMBERLAIN_DEMO_DIR"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/opt/chamberlain-demo")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "chamberlain-demo"


class Stage:
    """One site below `where`, in the multi-user form for root, else in the single-account form.

    Args:
        name: of the site's folder; several stages share the installed programs.
        people: username at the hub -> local account, made when absent; None is nobody. The
            first owns the endpoint. In the single-account form the first is mapped to the
            calling account, and nobody else is let in.
    """

    def __init__(
        self,
        where: Path,
        name: str,
        people: Mapping[str, str | None],
        report: Reporter,
    ) -> None:
        self.where = where
        self.multi = os.geteuid() == 0
        self.owner = next(iter(people))
        self._people = people
        self._report = report
        self._folder = where / name
        self._made = MadeAccounts(where / f"{name}-accounts.json")
        self.site = self._site()

    def set(self) -> None:
        """Install what is absent and start a fresh site. Call `clear` in any case.

        Raises:
            CannotGoOnError: something is missing or does not start; the message says what.
        """
        self._clear_old()
        if self.multi:
            self._make_accounts()
        else:
            self._report.line(
                "Not root: this is the single-account form. User endpoints run as "
                f"{getpass.getuser()}, for {self.owner} alone; everybody else is refused."
            )
        self.site = self._site()
        self.site.start(self._report)

    def install(self) -> None:
        """Install the Debian packages and the checkout, unless they are there."""
        debian.ensure(["rabbitmq-server"], self._report)
        self.where.mkdir(mode=0o755, parents=True, exist_ok=True)
        programs.install(self.where / "venv", self._report)

    def clear(self) -> None:
        """Stop everything, whoever started it; say what is left, if anything is."""
        if not self._folder.exists():
            return
        with self._report.step("Stopping everything"), deaf_to_interrupts():
            self.site.stop()
            left = standing_below(self._folder)
        if left:
            self._report.line(f"Still there: process {', '.join(map(str, left))}")

    def strike(self) -> list[str]:
        """Stop everything, remove the site and the accounts that it made; tell what, in words."""
        self.clear()
        removed = [f"the account {name}" for name in self._made.remove_all()]
        for name in self._made.names:
            self._report.line(f"The account {name} runs a process that is not ours, and stays.")
        if self._folder.exists():
            shutil.rmtree(self._folder)
            removed.insert(0, "the site and its processes")
        return removed

    def _site(self) -> KnownSite:
        if self.multi:
            plan = Plan(True, self._people, self.owner, hub_account=_HUB_ACCOUNT)
        else:
            me = dict.fromkeys(self._people) | {self.owner: getpass.getuser()}
            plan = Plan(False, me, self.owner)
        return Site(self._folder, programs.Programs(self.where / "venv"), plan)

    def _clear_old(self) -> None:
        if self._folder.exists():
            with self._report.step("Removing what an earlier one left"):
                self.site.stop()
                shutil.rmtree(self._folder)

    def _make_accounts(self) -> None:
        homes = self._folder / "homes"
        homes.mkdir(mode=0o755, parents=True)
        with self._report.step("Making the local accounts that are absent"):
            self._made.ensure(_HUB_ACCOUNT)
            if not exists(_SERVICE_ACCOUNT):
                self._made.claim(_SERVICE_ACCOUNT)
            for account in self._people.values():
                if account is not None:
                    self._made.ensure(account, homes / account)


@contextlib.contextmanager
def held(where: Path) -> Iterator[None]:
    """Hold the folder `where` for ourselves; end by an exception, also when told by a signal.

    Raises:
        StageTakenError: another command is at work there.
    """
    where.parent.mkdir(parents=True, exist_ok=True)
    lock = where.with_name(f".{where.name}.lock")
    with lock.open("w") as file, _ended_by_signals():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StageTakenError(f"Another ./dev command is at work in {where}.") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
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
def deaf_to_interrupts() -> Iterator[None]:
    """Finish the block whatever signal comes; the first one counts afterwards."""
    # Ctrl-C a second time must not leave half of it running; it counts afterwards.
    heard: list[int] = []
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {sign: signal.signal(sign, lambda number, _: heard.append(number)) for sign in signs}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if heard:
        raise SystemExit(128 + heard[0])
