"""An engine that does nothing until told, for tests of what stands above it."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from chamberlain_endpoint.engine.port import (
    Broken,
    CapacityChanged,
    EngineStatus,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    OnReport,
    Returned,
)
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import TaskId
from chamberlain_wire.messages import Result


class ManualEngine:
    """See `port.Engine`. Who holds it decides when a task ends, and how.

    Args:
        capacity: at the start; see `set_capacity`.
    """

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._jobs: dict[TaskId, Job] = {}
        self.submitted: list[TaskId] = []
        self.wanted = 0
        self.stopped = False
        self.can_cancel = True
        self._on_report: OnReport = lambda report: None

    def start(self, on_report: OnReport) -> None:
        """See `port.Engine.start`."""
        self._on_report = on_report

    @property
    def capacity(self) -> int:
        """See `port.Engine.capacity`."""
        return self._capacity

    def want(self, waiting: int) -> None:
        """See `port.Engine.want`."""
        with self._changed:
            self.wanted = waiting
            self._changed.notify_all()

    def submit(self, job: Job) -> None:
        """See `port.Engine.submit`. Refuses jobs with a resource specification."""
        if job.resources:
            raise JobRefusedError(public="This engine takes no resource specification.")
        with self._changed:
            self._jobs[job.task_id] = job
            self.submitted.append(job.task_id)
            self._changed.notify_all()

    def cancel(self, task_id: TaskId) -> bool:
        """See `port.Engine.cancel`."""
        if task_id not in self._jobs or not self.can_cancel:
            return False
        self.lose(task_id, "The task was cancelled.")
        return True

    def status(self) -> EngineStatus:
        """See `port.Engine.status`."""
        running = len(self._jobs)
        return EngineStatus(
            workers=self._capacity,
            idle=max(0, self._capacity - running),
            running=running,
            more={"engine_type": "ManualEngine"},
        )

    def stop(self) -> None:
        """See `port.Engine.stop`."""
        self.stopped = True
        self._on_report = lambda report: None

    # For whoever holds it; any thread.

    def await_submitted(self, count: int, *, timeout_s: float = 10.0) -> list[TaskId]:
        """Wait until `count` jobs were submitted in all, and return their ids in order."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.submitted) >= count, timeout_s):
                raise TimeoutError(f"{len(self.submitted)} of {count} jobs came")
            return list(self.submitted)

    def await_wanted(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Wait until `want(count)` was the last wish."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.wanted == count, timeout_s):
                raise TimeoutError(f"{self.wanted} tasks wait, not {count}")

    def finish(self, task_ids: Iterable[TaskId], data: str = "00\nnothing") -> None:
        """End these tasks well."""
        for task_id in task_ids:
            self._jobs.pop(task_id)
            self._on_report(Finished(task_id, encode(Result(task_id=task_id, data=data))))

    def lose(self, task_id: TaskId, reason: str) -> None:
        """Let the worker of this task die."""
        self._jobs.pop(task_id)
        self._on_report(Lost(task_id, reason))

    def give_back(self, task_id: TaskId) -> None:
        """Say that this task was not started."""
        self._jobs.pop(task_id)
        self._on_report(Returned(task_id))

    def set_capacity(self, capacity: int) -> None:
        """Get or lose workers."""
        self._capacity = capacity
        self._on_report(CapacityChanged())

    def break_down(self, reason: str) -> None:
        """Say that no worker will come."""
        self._on_report(Broken(reason))
