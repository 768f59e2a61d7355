"""What runs below this process: collected when it ends, and killed when nothing may be left.

Modules of the standard library alone, and few: a keeper loads it in each start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Final

_SWEEP_S: Final = 5.0
_SWEEP_STEP_S: Final = 0.02


def reap(wanted: int) -> int | None:
    """Collect every child that ended; return the status of `wanted` if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == wanted:
                found = status
    return found


def sweep() -> int:
    """Kill all that is left below this process; return how many would not go."""
    until = time.monotonic() + _SWEEP_S
    while True:
        left = list(_descendants())
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap(0)
        if not left or time.monotonic() > until:
            return len(left)
        signal.sigtimedwait({signal.SIGCHLD}, _SWEEP_STEP_S)


def _descendants() -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs as much as json)
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        yield from below
        waiting += below
