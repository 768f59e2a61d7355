"""Ties a process, with all it starts, to the one that started it.

`python -I -S tether.py PARENT exec COMMAND...`: become COMMAND; the kernel kills it when
PARENT is gone.
`python -I -S tether.py PARENT keep COMMAND...`: run COMMAND and stay beside it; when it ends,
when PARENT is gone, or on SIGTERM, everything that descends from it is killed, also what put
itself into a session of its own. Its exit code is ours.

Standard library only, so that it costs a few milliseconds. Whoever starts it must do so from
a thread that lives as long as its process, because the kernel looks at the thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def tie(parent: int, number: int = signal.SIGKILL) -> None:
    """Get signal `number` when `parent`, who started this process, dies; now if it did already.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def become_reaper() -> None:
    """Stay the ancestor of all that this process starts, also of what loses its parent.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def words(mode: str, *command: str) -> list[str]:
    """Return the command line that runs `command` tied to the caller; `mode` as above."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), mode, *command]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _keep(parent: int, command: list[str]) -> int:
    become_reaper()
    awaited = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    tie(parent, signal.SIGTERM)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    code = 128 + signal.SIGTERM
    while signal.sigwait(awaited) == signal.SIGCHLD:
        ended = _reap()
        if child in ended:
            code = ended[child]
            break
    _kill_children()
    return code


def _reap() -> dict[int, int]:
    """Return the exit codes of the children that have ended, by process id."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = code if code >= 0 else 128 - code


def _kill_children() -> None:
    # Children of the killed become ours, so this ends when nobody is left below us.
    while pids := _children():
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    me = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything, spaces and parentheses too.
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == me:
            found.append(int(stat.parent.name))
    return found


def main() -> None:
    """Do what the command line says."""
    parent, mode, *command = int(sys.argv[1]), *sys.argv[2:]
    if mode == "keep":
        os._exit(_keep(parent, command))
    tie(parent)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
