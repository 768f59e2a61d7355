"""A PAM session around the life of one user endpoint, within limits of time.

A module may hang for as long as it likes: it runs in the keeper, whose launcher goes on
serving others. A second thread of the keeper holds the clock, and ends the keeper when the
time is up; with it ends all that a module started. Loaded only where PAM is on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from chamberlain_endpoint.launcher.runtime.pam import Session
from chamberlain_wire.errors import ChamberlainError, ErrorCode

CLOSE_S: Final = 5.0
"""Most that the end of a session may take; below what the launcher waits before it kills."""

_DONE: Final = signal.SIGUSR2
_GIVEN_UP_CODE: Final = 70

Report = Callable[[dict[str, object]], None]


class Kept:
    """The session of one keeper.

    Args:
        kill_all: the signal by which the launcher ends everything at once; it and SIGTERM
            must be blocked already.
        report: writes to the launcher.
        give_up: kills what is left below this process, and ends it.
    """

    def __init__(
        self,
        session: Session,
        kill_all: signal.Signals,
        report: Report,
        give_up: Callable[[], object],
    ) -> None:
        self._session = session
        self._kill_all = kill_all
        self._report = report
        self._give_up = give_up
        self._is_asked_to_stop = False
        signal.pthread_sigmask(signal.SIG_BLOCK, {_DONE})

    def open(self, timeout_s: float) -> dict[str, str]:
        """Open the session; return the environment that it brings.

        Raises:
            PamError: the account may not come in now, or PAM does not work.
            StoppedError: SIGTERM came meanwhile; the session is closed again.
        """
        environment: dict[str, str] = self._within(timeout_s, self._cannot_open, self._session.open)
        if self._is_asked_to_stop:
            self.close()
            raise StoppedError("it was asked to stop before it ran")
        self._report({"session": "opened"})
        return environment

    def close(self) -> None:
        """Close it, and tell how that went."""
        fault = self._within(CLOSE_S, self._cannot_close, self._session.close)
        self._report({"session": f"closed with faults: {fault}" if fault else "closed"})

    def _within(self, limit_s: float, fail: Callable[[str], None], work: Callable[[], Any]) -> Any:
        watch = threading.Thread(target=self._watch, args=(limit_s, fail))
        watch.start()
        try:
            return work()
        finally:
            # Gone before anything is forked: a fork takes over no other thread.
            assert watch.ident is not None
            signal.pthread_kill(watch.ident, _DONE)
            watch.join()

    def _watch(self, limit_s: float, fail: Callable[[str], None]) -> None:
        until = time.monotonic() + limit_s
        waited = {_DONE, signal.SIGTERM, self._kill_all}
        while (left_s := until - time.monotonic()) > 0:
            heard = signal.sigtimedwait(waited, left_s)
            if heard is not None and heard.si_signo == _DONE:
                return
            if heard is not None and heard.si_signo == self._kill_all:
                fail(f"it was killed in {self._session.stage}")
                break
            self._is_asked_to_stop = heard is not None
        else:
            fail(f"{self._session.stage} did not end within {limit_s:g} s")
        self._give_up()
        os._exit(_GIVEN_UP_CODE)

    def _cannot_open(self, why: str) -> None:
        self._report(
            {
                "failed": f"PAM: {why}",
                "code": str(ErrorCode.START_FAILED),
                "public": "The site did not open a session for this account in time; try again "
                "later.",
            }
        )

    def _cannot_close(self, why: str) -> None:
        self._report({"session": f"not closed: {why}"})


class StoppedError(ChamberlainError):
    """The launcher wants the user endpoint no more. End."""
