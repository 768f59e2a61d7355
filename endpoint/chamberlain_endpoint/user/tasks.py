"""The tasks that are here and have no result yet: which wait, which run, what to acknowledge."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass

from chamberlain_endpoint.engine.port import Job
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.ids import TaskId


@dataclass(slots=True)
class _Open:
    job: Job
    attempts: int


class Tasks:
    """One thread.

    Args:
        retries: how often a task whose worker went away is run again.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._waiting: OrderedDict[TaskId, None] = OrderedDict()
        self._open: dict[TaskId, _Open] = {}
        self._running: set[TaskId] = set()
        self._deliveries: dict[TaskId, Delivery] = {}

    @property
    def waiting(self) -> int:
        """Tasks that were not handed to the engine."""
        return len(self._waiting)

    @property
    def running(self) -> Set[TaskId]:
        """Tasks that the engine has; a view."""
        return self._running

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._open

    def add(self, job: Job, *, attempts: int) -> None:
        """Let `job` wait; it was handed to an engine `attempts` times before."""
        self._open[job.task_id] = _Open(job, attempts)
        self._waiting[job.task_id] = None

    def hold(self, task_id: TaskId, delivery: Delivery) -> None:
        """Keep the newest delivery of a task; an older one is of a connection that is gone."""
        self._deliveries[task_id] = delivery

    def release(self, task_id: TaskId) -> Delivery | None:
        """Return the delivery to acknowledge now that the result is out."""
        return self._deliveries.pop(task_id, None)

    def pick(self, room: int) -> list[Job]:
        """Take up to `room` waiting tasks, first come first, and count them as running."""
        jobs: list[Job] = []
        while self._waiting and len(jobs) < room:
            task_id, _ = self._waiting.popitem(last=False)
            entry = self._open[task_id]
            entry.attempts += 1
            self._running.add(task_id)
            jobs.append(entry.job)
        return jobs

    def end(self, task_id: TaskId) -> bool:
        """The task has its result; False when it was not running (a late report)."""
        if task_id not in self._running:
            return False
        self._running.discard(task_id)
        del self._open[task_id]
        return True

    def lose(self, task_id: TaskId) -> bool:
        """The task's worker is gone; True when it waits for another attempt now."""
        if self._open[task_id].attempts > self._retries:
            return False
        self._running.discard(task_id)
        self._first(task_id)
        return True

    def withdraw(self, task_id: TaskId) -> bool:
        """Forget a task that waits; False when it does not."""
        if task_id not in self._waiting:
            return False
        del self._waiting[task_id]
        del self._open[task_id]
        return True

    def put_back(self, task_id: TaskId) -> None:
        """The task did not start after all, and waits again."""
        self._open[task_id].attempts -= 1
        self._running.discard(task_id)
        self._first(task_id)

    def may_retry(self, attempts: int) -> bool:
        """Tell whether a task that was tried `attempts` times may be tried again."""
        return attempts <= self._retries

    def drop_waiting(self) -> list[TaskId]:
        """Forget the tasks that wait and return them."""
        dropped = list(self._waiting)
        self._waiting.clear()
        for task_id in dropped:
            del self._open[task_id]
        return dropped

    def _first(self, task_id: TaskId) -> None:
        self._waiting[task_id] = None
        self._waiting.move_to_end(task_id, last=False)
