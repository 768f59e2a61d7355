"""Ends a process with all that it started. Standard library only.

First everybody is stopped, so that nobody starts another or leaves its parent while we look;
then all are killed. An MPI launcher is asked before: killed at once, it would leave its ranks
on the other nodes. Of the family are the process, its descendants, and whoever was started
with the task's id in its environment: daemons that left their parents, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

TASK_VARIABLE: Final = "GC_TASK_UUID"
MPI_VARIABLE: Final = "PARSL_MPI_PREFIX"
"""Tasks that have it in their environment may have ranks on other nodes."""
LAUNCHER_PATIENCE_S: Final = 5.0
"""How long an MPI launcher that is told to end may need to end its ranks on all nodes."""

_MOST_ROUNDS: Final = 20
_STOP_S: Final = 1.0
_LOOK_S: Final = 0.002
_ASKED_S: Final = 0.05


def end_family(
    root: int,
    task_id: str,
    *,
    still: Callable[[], bool] = lambda: True,
    patience_s: float = 0.0,
) -> bool:
    """Kill `root` and all that it started for the task `task_id`.

    Args:
        root: process id of a worker of this account.
        still: asked once the worker stands still: does it run the task? If not, it goes on.
        patience_s: what it started gets SIGTERM, and so long to end, before it is killed.

    Returns:
        False when the worker did not run the task any more.
    """
    _tell([root], signal.SIGSTOP)
    _await_stop(root)
    if not still():
        _tell([root], signal.SIGCONT)
        return False
    ask_to_end(lambda: _family({root}, task_id) - {root}, patience_s)
    _end({root}, task_id)
    return True


def end_marked(task_id: str, *, patience_s: float) -> None:
    """End what was started for the task `task_id` and is left, although its worker is gone."""
    ask_to_end(lambda: _family(set(), task_id), patience_s)
    _end(set(), task_id)


def ask_to_end(look: Callable[[], set[int]], patience_s: float) -> None:
    """Give SIGTERM, once, to each process that `look` finds, until it finds none.

    Args:
        patience_s: the longest that this takes; 0: nobody is asked.
    """
    deadline = time.monotonic() + patience_s
    told: set[int] = set()
    while time.monotonic() < deadline and (living := look()):
        # Launchers take a second SIGTERM for impatience.
        _tell(living - told, signal.SIGTERM)
        told |= living
        time.sleep(_ASKED_S)


def _end(roots: set[int], task_id: str) -> None:
    stopped = set(roots)
    for _ in range(_MOST_ROUNDS):
        more = _family(roots, task_id) - stopped
        if not more:
            break
        _tell(more, signal.SIGSTOP)
        stopped |= more
    _tell(stopped, signal.SIGKILL)


def _tell(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _await_stop(pid: int) -> None:
    # On another processor it may run on for a moment.
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline:
        state = _stat(pid)
        if state is None or state[0] in "TtZX":
            return
        time.sleep(_LOOK_S)


def _family(roots: set[int], task_id: str) -> set[int]:
    parents: dict[int, int] = {}
    found = set(roots)
    mark = f"{TASK_VARIABLE}={task_id}".encode()
    for name in os.listdir("/proc"):  # noqa: PTH208 - a quarter of the time that Path takes
        if not name.isdigit():
            continue
        stat = _stat(int(name))
        if stat is None or stat[0] in "ZX":
            continue
        parents[int(name)] = int(stat[1])
        if _is_marked(int(name), mark):
            found.add(int(name))
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(children)
        found |= children
    return found - {os.getpid()}


def _stat(pid: int) -> list[str] | None:
    """Return state and parent of a process; None when it is gone."""
    try:
        # The name in parentheses may hold anything, spaces and parentheses too.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return None


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # another account's, or gone
