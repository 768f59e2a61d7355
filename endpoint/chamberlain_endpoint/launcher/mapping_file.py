"""The mapping file in force, taken anew when it was changed.

It is looked at when somebody asks, not polled: an edit counts from the next request on. A
faulty or untrusted edit changes nothing; the rules that were good stay, and the fault is
told once in the log and for as long as it lasts in `state`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chamberlain_endpoint.identity import doubts
from chamberlain_endpoint.identity.mapper import RuleMapper
from chamberlain_endpoint.identity.rules import MappingRefusedError, Program, Step
from chamberlain_endpoint.launcher import trusted_file
from chamberlain_endpoint.launcher.external import ProgramRunner
from chamberlain_wire.errors import ChamberlainError

_log: Final = logging.getLogger(__name__)

_DOUBTS_S: Final = 0.5
_MOST_FILES: Final = 1 << 20

IN_FORCE: Final = "in force"
"""The state of a mapping file whose newest version is the one that counts."""


class MappingFile:
    """Keeps the mapper that the file `path` describes.

    Args:
        on_change: called with the fault of an edit; empty when the edit was taken.
        runner: runs mapping programs; None: a file that names one is refused.
        denied: names of accounts that nobody should get, for `warnings`.
    """

    def __init__(
        self,
        path: Path,
        owners: frozenset[int],
        on_change: Callable[[str], None],
        runner: ProgramRunner | None = None,
        denied: tuple[str, ...] = (),
    ) -> None:
        self._path = path
        self._owners = owners
        self._on_change = on_change
        self._runner = runner
        self._denied = denied
        self._stamp: tuple[int, ...] = ()
        self._fault = ""
        self._mapper: RuleMapper | None = None
        self._warnings: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the version in force is perhaps not as its author means."""
        return self._warnings

    @property
    def state(self) -> str:
        """`in force`, or why the newest version of the file is not."""
        return f"an older version is in force: {self._fault}" if self._fault else IN_FORCE

    def open(self) -> None:
        """Read the file for the first time.

        Raises:
            UntrustedPathError, MappingRefusedError: it cannot be used. Do not start.
        """
        self._read()

    def mapper(self) -> RuleMapper:
        """Return the mapper of the newest good version of the file."""
        self.look()
        assert self._mapper is not None, "open() comes first"
        return self._mapper

    def look(self) -> str:
        """Take an edit, if there is one; return the state after it."""
        try:
            if trusted_file.stamp(self._path, self._owners) != self._stamp:
                self._read()
                log_doubts(self._warnings)
                self._tell("", changed=True)
            else:
                self._tell("", changed=False)
        except ChamberlainError as error:
            self._tell(f"{self._path}: {error}", changed=False)
        return self.state

    def _read(self) -> None:
        stamp = trusted_file.stamp(self._path, self._owners)
        mapper = RuleMapper.read(trusted_file.read(self._path, self._owners), self._runner)
        self._check_programs(mapper.steps)
        self._mapper = mapper
        # Last, so that a version that could not be read is tried again.
        self._stamp = stamp
        self._warnings = _doubts_in_time(mapper.steps, self._denied)

    def _check_programs(self, steps: tuple[Step, ...]) -> None:
        faults = []
        for step in steps:
            if not isinstance(step, Program):
                continue
            if self._runner is None:
                faults.append(
                    f"{step.label}: launcher.toml must name the account that it runs as: "
                    "[mapping] external_account"
                )
                continue
            try:
                self._runner.check(step.command)
            except trusted_file.UntrustedPathError as error:
                faults.append(f"{step.label}: {error}")
        if faults:
            raise MappingRefusedError(tuple(faults))

    def _tell(self, fault: str, *, changed: bool) -> None:
        if fault == self._fault and not changed:
            return
        self._fault = fault
        if fault:
            _log.error(
                "the mapping file cannot be used; the rules before the edit stay in force",
                extra={"event": "mapping.refused", "reason": fault},
            )
        else:
            _log.info("the mapping file is in force", extra={"event": "mapping.taken"})
        self._on_change(fault)


def log_doubts(warnings: tuple[str, ...]) -> None:
    """Tell the administrator of each doubt about the version that is taken."""
    for warning in warnings:
        _log.warning(
            "the mapping file is doubtful",
            extra={"event": "mapping.doubtful", "reason": warning},
        )


def _doubts_in_time(steps: tuple[Step, ...], denied: tuple[str, ...]) -> tuple[str, ...]:
    """Return the doubts about `steps`, found in a child that the kernel ends after a while.

    To find them the patterns are run, and a pattern can take for ever.
    """
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        _find_and_leave(steps, denied, told)
    os.close(told)
    with os.fdopen(heard, "rb") as file:
        found = file.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        return ("it could not be looked at in time: a match with nested repetition?",)
    return tuple(json.loads(found))


def _find_and_leave(steps: tuple[Step, ...], denied: tuple[str, ...], told: int) -> None:
    """The child's whole life. Never returns."""
    try:
        os.dup2(told, 3)
        os.closerange(4, _MOST_FILES)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, _DOUBTS_S)
        with os.fdopen(3, "wb") as file:
            file.write(json.dumps(doubts.find(steps, denied)).encode())
        os._exit(0)
    finally:
        os._exit(70)
