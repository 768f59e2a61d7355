"""A runtime whose user endpoints leave no batch job behind.

Around another runtime. A user endpoint that ended in disorder may have left jobs that wait in
a queue, where nothing of ours runs that could notice. So a short-lived *sweep* is started as the
same account, in the same place: it cancels them. Root starts and ends it, and looks at its exit
code; what the scheduler says, it never sees. Until the sweep is over, the end of the user
endpoint is not told, so the next one never meets it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from chamberlain_endpoint.launcher.loop import Loop, Timer
from chamberlain_endpoint.launcher.runtime.port import (
    Exit,
    News,
    Runtime,
    StartFailedError,
    unheard,
)
from chamberlain_endpoint.launcher.runtime.sweep_records import SweepRecords
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.limits import EXIT_JOBS_LEFT

_log: Final = logging.getLogger(__name__)

LIMIT_S: Final = 25.0
"""Longest life of a sweep; it gives up by itself before that."""

_AGAIN_S: Final = 30.0
_MOST_AGAIN_S: Final = 3600.0
_MOST_DOUBLINGS: Final = 7

Note = Callable[[LaunchSpec, str, str], None]
"""Takes a sweep, its outcome in a word, and why it was needed or how it failed."""


@dataclass(slots=True)
class _Sweep:
    spec: LaunchSpec
    after: Exit | None
    timer: Timer
    waiting: LaunchSpec | None = None


class SweepingRuntime:
    """See `port.Runtime`.

    Args:
        inner: runs user endpoints, and sweeps.
        note: writes sweeps into the audit log.
    """

    def __init__(self, loop: Loop, inner: Runtime, records: SweepRecords, note: Note) -> None:
        self._loop = loop
        self._inner = inner
        self._records = records
        self._note = note
        self._sweeps: dict[str, _Sweep] = {}
        self._failures: dict[str, int] = {}
        self._on_exit: Callable[[Exit], None] = lambda _: None

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Open the inner runtime; sweep after whoever did not live to see us."""
        self._on_exit = on_exit
        self._records.open()
        self._inner.open(self._ended, on_news)
        for spec in self._records.all():
            if not self._inner.is_running(spec.user_endpoint):
                self._sweep(spec, None, "the launcher before this one ended")

    def start(self, spec: LaunchSpec) -> None:
        """Start a user endpoint; one whose last life is being swept starts right after that."""
        sweep = self._sweeps.get(spec.user_endpoint)
        if sweep is not None and sweep.after is not None:
            raise ValueError(f"{spec.user_endpoint} runs already")
        if spec.may_have_jobs:
            self._records.add(spec)
        if sweep is None:
            self._inner.start(spec)
        else:
            # It removes by itself, in its own time, what is left of its earlier lives.
            sweep.waiting = spec
            self._inner.stop(spec.user_endpoint, 0.0)

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of the top of its tree; 0: there is none, or none yet."""
        return 0 if user_endpoint in self._sweeps else self._inner.pid_of(user_endpoint)

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs, its sweep included."""
        return self._inner.is_running(user_endpoint)

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end. A sweep has its own time, unless there is no time at all."""
        sweep = self._sweeps.get(user_endpoint)
        if sweep is None or grace_s <= 0:
            self._inner.stop(user_endpoint, grace_s)
        elif sweep.waiting is not None:
            sweep.waiting = None
            self._on_exit(Exit(user_endpoint, 0, None, b""))

    def stays(self, user_endpoint: str) -> bool:
        """Tell whether it goes on for the next launcher. A sweep does not."""
        return user_endpoint not in self._sweeps and self._inner.stays(user_endpoint)

    def close(self) -> None:
        """Kill what still runs. Jobs that it may have are swept by the next launcher."""
        self._inner.close()

    def _ended(self, exit_: Exit) -> None:
        sweep = self._sweeps.pop(exit_.user_endpoint, None)
        if sweep is not None:
            self._swept(sweep, exit_)
            return
        spec = self._records.of(exit_.user_endpoint)
        if spec is None or exit_.exit_code == 0:
            self._records.remove(exit_.user_endpoint)
            self._on_exit(exit_)
        else:
            self._sweep(spec, exit_, _why(exit_))

    def _sweep(self, spec: LaunchSpec, after: Exit | None, why: str) -> None:
        self._note(spec, "begun", why)
        try:
            self._inner.start(spec)
        except StartFailedError as error:
            self._not_swept(spec, str(error))
            if after is not None:
                self._on_exit(after)
            return
        name = spec.user_endpoint
        timer = self._loop.call_later(LIMIT_S, lambda: self._inner.stop(name, 0.0))
        self._sweeps[name] = _Sweep(spec, after, timer)

    def _swept(self, sweep: _Sweep, exit_: Exit) -> None:
        sweep.timer.cancel()
        name = exit_.user_endpoint
        said = exit_.tail.decode("utf-8", "replace").strip()[-500:]
        is_clean = exit_.exit_code == 0
        if sweep.waiting is not None:
            self._start_waiting(sweep.waiting)
            return
        if is_clean:
            self._records.remove(name)
            self._failures.pop(name, None)
            self._note(sweep.spec, "clean", said)
        else:
            self._not_swept(sweep.spec, said or exit_.failure or _why(exit_))
        if sweep.after is not None:
            self._on_exit(_told(sweep.after, is_clean=is_clean))

    def _start_waiting(self, spec: LaunchSpec) -> None:
        try:
            self._inner.start(spec)
        except StartFailedError as error:
            public = error.public
            self._on_exit(
                Exit(spec.user_endpoint, None, None, b"", failure=str(error), public=public)
            )

    def _not_swept(self, spec: LaunchSpec, why: str) -> None:
        _log.error(
            "batch jobs may be left",
            extra={
                "event": "jobs.left",
                "user_endpoint": spec.user_endpoint,
                "account": spec.account.uname,
                "reason": why,
            },
        )
        self._note(spec, "jobs left", why)
        failures = self._failures[spec.user_endpoint] = (
            self._failures.get(spec.user_endpoint, 0) + 1
        )
        wait_s = min(_AGAIN_S * 2 ** min(failures - 1, _MOST_DOUBLINGS), _MOST_AGAIN_S)
        self._loop.call_later(wait_s, lambda: self._sweep_again(spec.user_endpoint))

    def _sweep_again(self, user_endpoint: str) -> None:
        spec = self._records.of(user_endpoint)
        # One that runs again removes what is left of its earlier lives by itself.
        if spec is not None and not self._inner.is_running(user_endpoint):
            self._sweep(spec, None, "jobs were left")


def _told(after: Exit, *, is_clean: bool) -> Exit:
    if is_clean and after.exit_code == EXIT_JOBS_LEFT:
        # It left in order but for its jobs, and they are gone now.
        return replace(after, exit_code=0, tail=b"")
    return after


def _why(exit_: Exit) -> str:
    if exit_.exit_code == EXIT_JOBS_LEFT:
        return "the user endpoint could not end its jobs"
    how = f"signal {exit_.signal}" if exit_.signal else f"exit code {exit_.exit_code}"
    return f"the user endpoint ended with {how}"
