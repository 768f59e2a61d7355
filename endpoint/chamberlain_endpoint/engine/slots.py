"""Which task each worker of a node runs, in memory that all its processes share.

The pool makes the memory; a worker writes its process id and task there before it runs the task,
and wipes it after. So whoever wants to end one task finds the one process that runs it, and
sees, when that process stands still, whether it runs it still. Writing costs a microsecond
(`docs/adr/0014-cancellation.md`). The memory has no name in any file system: nothing is left of
it when the last process goes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Final

from chamberlain_endpoint.engine.family import end_family

VARIABLE: Final = "CHAMBERLAIN_SLOTS"
RANK_VARIABLE: Final = "PARSL_WORKER_RANK"
_SLOTS: Final = 1024
_SLOT_BYTES: Final = 64
_PID_BYTES: Final = 8
_ID_BYTES: Final = 36
_RECALLED: Final = 256
"""So many cancelled tasks are remembered, in case one comes to a worker later."""
_RING_AT: Final = _SLOTS * _SLOT_BYTES
_SIZE: Final = _RING_AT + _RECALLED * _ID_BYTES
_EMPTY: Final = b"\0" * (_PID_BYTES + _ID_BYTES)


class Recalled(Exception):  # noqa: N818 - it is no fault
    """The task was cancelled before this worker began it."""


class Slots:
    """The memory, seen from one process.

    Attributes:
        patience_s: so long may a recalled task take to end what it started.
        not_begun: told of a recalled task that no worker runs.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _SIZE)
        self._next = 0
        self.patience_s = 0.0
        self.not_begun: Callable[[str], None] = lambda task_id: None

    def begin(self, rank: int, task_id: str) -> None:
        """Note that this process, the worker `rank`, runs a task.

        Raises:
            Recalled: it must not.
        """
        if not 0 <= rank < _SLOTS:
            return
        place, name = rank * _SLOT_BYTES, task_id.encode()
        self._memory[place : place + len(_EMPTY)] = os.getpid().to_bytes(_PID_BYTES) + name
        # After the note: whoever recalls writes first and looks for the note then.
        if self._memory.find(name, _RING_AT) >= 0:
            self.end(rank)
            raise Recalled(task_id)

    def end(self, rank: int) -> None:
        """Note that it runs none."""
        if 0 <= rank < _SLOTS:
            place = rank * _SLOT_BYTES
            self._memory[place : place + len(_EMPTY)] = _EMPTY

    def recall(self, task_id: str) -> bool:
        """End the worker that runs `task_id`, and let none begin it. One thread of the pool.

        Returns:
            Whether a worker was ended.
        """
        name = task_id.encode()
        if len(name) != _ID_BYTES or b"\0" in name:
            return False
        if self._memory.find(name, _RING_AT) < 0:
            place = _RING_AT + self._next * _ID_BYTES
            self._memory[place : place + _ID_BYTES] = name
            self._next = (self._next + 1) % _RECALLED
        found = self._memory.find(name, 0, _RING_AT)
        if found < 0:
            self.not_begun(task_id)
            return False
        slot = found - found % _SLOT_BYTES
        pid = int.from_bytes(self._memory[slot : slot + _PID_BYTES])
        if pid <= 1:
            # Numbers that mean whole groups to the kernel, should user code have written here.
            return False

        def still() -> bool:
            return self._memory[slot : slot + len(_EMPTY)] == pid.to_bytes(_PID_BYTES) + name

        if not end_family(pid, task_id, still=still, patience_s=self.patience_s):
            return False
        self._memory[slot : slot + len(_EMPTY)] = _EMPTY
        return True


def make() -> Slots:
    """Return new memory, which children find by their environment.

    Raises:
        OSError: the kernel has none to give.
    """
    fd = os.memfd_create("chamberlain-slots")
    os.ftruncate(fd, _SIZE)
    os.environ[VARIABLE] = f"/proc/{os.getpid()}/fd/{fd}"
    return Slots(fd)


def joined() -> tuple[Slots, int] | None:
    """Return the memory of the pool that this worker belongs to, and its rank; None: no pool."""
    path, rank = os.environ.get(VARIABLE), os.environ.get(RANK_VARIABLE)
    if path is None or rank is None:
        return None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Slots(fd), int(rank)
    finally:
        os.close(fd)
