"""Which tasks run, since when, and which of them the hub has not been told of.

A task that ends within `SETTLE_S` is told by its result alone: quick tasks cost no report. The
others are told together, at most once in `SETTLE_S`. Pure: the time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chamberlain_wire.ids import TaskId

SETTLE_S: Final = 0.5


class Started:
    """The tasks that the engine has."""

    def __init__(self) -> None:
        self._at_ns: dict[TaskId, int] = {}
        self._untold: OrderedDict[TaskId, float] = OrderedDict()

    def begin(self, task_ids: Iterable[TaskId], *, now_s: float, at_ns: int) -> None:
        """Note that the engine got these tasks.

        Args:
            now_s: monotonic clock.
            at_ns: UTC, nanoseconds since the epoch.
        """
        for task_id in task_ids:
            self._at_ns[task_id] = at_ns
            self._untold[task_id] = now_s

    def end(self, task_id: TaskId) -> None:
        """Note that the engine has it no longer."""
        self._at_ns.pop(task_id, None)
        self._untold.pop(task_id, None)

    def clear(self) -> None:
        """Note that the engine has none any more."""
        self._at_ns.clear()
        self._untold.clear()

    def all(self) -> list[tuple[TaskId, int]]:
        """Return all with the time (UTC, nanoseconds) at which the engine got them."""
        return list(self._at_ns.items())

    def due_at(self) -> float | None:
        """Return when the next report is due (monotonic clock); None: there is nothing to tell."""
        oldest = next(iter(self._untold.values()), None)
        return None if oldest is None else oldest + SETTLE_S

    def take(self, *, now_s: float, most: int) -> list[tuple[TaskId, int]]:
        """Return up to `most` that are to be told now, like `all`, and count them as told."""
        due: list[TaskId] = []
        for task_id, began_s in self._untold.items():
            # Half of it more: what is nearly due goes along, and needs no report of its own.
            if began_s + SETTLE_S / 2 > now_s or len(due) == most:
                break
            due.append(task_id)
        for task_id in due:
            del self._untold[task_id]
        return [(task_id, self._at_ns[task_id]) for task_id in due]
