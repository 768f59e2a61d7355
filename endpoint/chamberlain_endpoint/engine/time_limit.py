"""How long a task may take, and its end when it takes longer.

In a process of its own, a task with a limit runs in a forked child of the worker: whatever it
does, also in C code, the child and all that it started can be killed, and the worker answers
for it and goes on. A task without a limit is not forked. A signal's handler was rejected: C
code keeps it waiting, and the task can catch what it raises.

A thread cannot be killed. It gets an exception, which it sees when it next runs Python code.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final, NoReturn

from chamberlain_endpoint.engine.family import LAUNCHER_PATIENCE_S, MPI_VARIABLE, ask_to_end
from chamberlain_endpoint.engine.port import Job
from chamberlain_endpoint.engine.tether import become_reaper, tie
from chamberlain_endpoint.rendered.task_timeout import VARIABLE, from_environment
from chamberlain_wire.errors import ChamberlainError, ErrorCode

KEY: Final = "task_timeout_s"


class TimeIsUpError(ChamberlainError):
    """The task took longer than it may. Fail it with `public`."""

    code = ErrorCode.TASK_TIMEOUT

    def __init__(self, limit: Limit, more: str = "The task was ended.") -> None:
        super().__init__(
            public=f"The task took longer than {limit.seconds:g} s, {limit.whose}. {more}"
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """The shortest of the limits of a task.

    Attributes:
        whose: part of a sentence: who set it, and where.
    """

    seconds: float
    whose: str


@dataclass(frozen=True, slots=True)
class Killed:
    """The task took too long; its process and all that it had started are gone.

    Attributes:
        cpu_s: what the process and those of its children used that had ended.
        peak_kib: the most memory that one of them had.
    """

    cpu_s: float
    peak_kib: int


def of(job: Job, environment: Mapping[str, str] = os.environ) -> Limit | None:
    """Return the limit of `job` in a process with this `environment`; None is no limit.

    Raises:
        BadLimitError: as `from_environment`.
    """
    limits = [
        Limit(seconds, whose)
        for seconds, whose in (
            (job.timeout_s, f"the limit that its caller set ({KEY} in resource_specification)"),
            (job.rules.timeout_s, f"the limit of this endpoint ({KEY} or {VARIABLE})"),
            (_of_process(environment.get(VARIABLE)), f"the limit of its worker ({VARIABLE})"),
        )
        if seconds is not None
    ]
    return min(limits, key=lambda one: one.seconds, default=None)


@cache
def _of_process(text: str | None) -> float | None:
    return None if text is None else from_environment({VARIABLE: text})


def in_child(run: Callable[[], bytes], limit: Limit) -> bytes | Killed:
    """Run `run` in a forked child and return what it returns.

    This process dies in the way in which the child did, if it did: the engine sees no
    difference between a task with a limit and one without.
    """
    theirs: Connection[Any, Any]
    ours, theirs = Pipe(duplex=False)
    parent = os.getpid()
    deadline = time.monotonic() + limit.seconds
    pid = os.fork()
    if pid == 0:
        _be_the_child(parent, run, theirs)
    theirs.close()
    pidfd = os.pidfd_open(pid)
    try:
        wait([ours, pidfd], max(0.0, deadline - time.monotonic()))
        killed = not ours.poll() and not wait([pidfd], 0.0)
        if killed:
            _kill_all(pid)
        # It may have answered, or ended in a way of its own, at this very moment.
        body = _received(ours) if ours.poll() and not killed else None
    finally:
        os.close(pidfd)
        ours.close()
    _, status, used = os.wait4(pid, 0)
    if body is not None:
        return body
    if killed:
        return Killed(used.ru_utime + used.ru_stime, used.ru_maxrss)
    return _follow(os.waitstatus_to_exitcode(status))


def _be_the_child(parent: int, run: Callable[[], bytes], line: Connection[Any, Any]) -> NoReturn:
    code = 1
    try:
        tie(parent)
        # So that whatever the task starts stays below this process, and can be found there.
        become_reaper()
        line.send_bytes(run())
        code = 0
    finally:
        # Nothing of the worker's, such as its handlers at exit, may run a second time.
        os._exit(code)


def _received(line: Connection[Any, Any]) -> bytes | None:
    try:
        return line.recv_bytes()
    except (EOFError, OSError):
        return None


def _kill_all(pid: int) -> None:
    # It must not start anything while we look.
    os.kill(pid, signal.SIGSTOP)
    if MPI_VARIABLE in os.environ:
        ask_to_end(lambda: set(_living_below(pid)), LAUNCHER_PATIENCE_S)
    while living := _living_below(pid):
        for one in living:
            _kill(one)
    os.kill(pid, signal.SIGKILL)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _living_below(pid: int) -> list[int]:
    """Return all descendants of `pid` that have not ended."""
    children: dict[int, list[tuple[int, str]]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything, spaces and parentheses too.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        children.setdefault(int(parent), []).append((int(stat.parent.name), state))
    found, look = [], [pid]
    while look:
        for one, state in children.get(look.pop(), ()):
            look.append(one)
            if state not in "ZX":
                found.append(one)
    return found


def _follow(code: int) -> NoReturn:
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in _NO_HANDLER else None
        os.kill(os.getpid(), -code)
        code = 128 - code
    os._exit(code)


_NO_HANDLER: Final = (signal.SIGKILL, signal.SIGSTOP)


class _TimeIsUp(BaseException):
    """Interrupts a thread; not an Exception, which the task might catch."""


def in_thread(run: Callable[[], Any], limit: Limit) -> Any:
    """Run `run` in this thread, and interrupt it when it takes too long.

    Raises:
        TimeIsUpError: it did. What waits outside of Python (a sleep, a read, C code) is
            interrupted only when it comes back.
    """
    interruption = _Interruption()
    timer = threading.Timer(limit.seconds, interruption.strike)
    timer.daemon = True
    timer.start()
    try:
        try:
            value = run()
        finally:
            timer.cancel()
            interruption.over()
    except BaseException:
        if interruption.struck:
            raise TimeIsUpError(limit) from None
        raise
    if interruption.struck:
        # It caught even that.
        raise TimeIsUpError(limit)
    return value


class _Interruption:
    """Raises an exception in the thread that made it."""

    def __init__(self) -> None:
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._lock = threading.Lock()
        self._over = False
        self.struck = False

    def strike(self) -> None:
        """Interrupt the thread, if it is not over. Another thread calls it."""
        with self._lock:
            if not self._over:
                self.struck = True
                _set_exception(self._thread, ctypes.py_object(_TimeIsUp))

    def over(self) -> None:
        """What might be interrupted has ended; nothing is interrupted any more."""
        with self._lock:
            self._over = True
            _set_exception(self._thread, None)


def _set_exception(thread: ctypes.c_ulong, error: object) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
