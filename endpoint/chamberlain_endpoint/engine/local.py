"""Tasks as threads of the user endpoint itself: the fastest start there is.

What user code does to its process it does to the user endpoint: `os._exit` ends it. The
tasks that ran are then reported lost, by the next start's look into the ledger.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chamberlain_endpoint.engine import time_limit
from chamberlain_endpoint.engine.port import (
    CapacityChanged,
    EngineStatus,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    OnReport,
    Returned,
)
from chamberlain_endpoint.rendered.settled import ThreadPoolEngine
from chamberlain_wire.ids import TaskId

log = logging.getLogger(__name__)

_GRACE_S: Final = 2.0
"""How long a thread may take to end when its time is up, before it is answered for."""


def default_workers() -> int:
    """Return how many threads or processes run when the configuration does not say."""
    return min(32, (os.cpu_count() or 1) + 4)


class ThreadEngine:
    """See `port.Engine`. Threads start with the first tasks and stay."""

    def __init__(self, config: ThreadPoolEngine) -> None:
        self._workers = config.max_workers or default_workers()
        self._label = config.type
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._queued: set[TaskId] = set()
        self._running: set[TaskId] = set()
        # Tasks that did not end with their time: answered already, and still in a thread.
        self._stuck: set[TaskId] = set()
        self._lock = threading.Lock()
        self._on_report: OnReport = lambda report: None

    def start(self, on_report: OnReport) -> None:
        """See `port.Engine.start`."""
        self._on_report = on_report
        # Serializers take a tenth of a second to import; not while the first task waits.
        threading.Thread(target=_import_worker, name="engine-import", daemon=True).start()
        on_report(CapacityChanged())

    @property
    def capacity(self) -> int:
        """See `port.Engine.capacity`."""
        return max(0, self._workers - len(self._stuck))

    def want(self, waiting: int) -> None:
        """See `port.Engine.want`. Threads are there when they are needed."""

    def submit(self, job: Job) -> None:
        """See `port.Engine.submit`."""
        if job.resources:
            raise JobRefusedError(public=f"{self._label} takes no resource specification.")
        with self._lock:
            self._queued.add(job.task_id)
            busy = len(self._queued) + len(self._running)
        if len(self._threads) < min(busy, self._workers):
            thread = threading.Thread(
                target=self._work, name=f"task-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._queue.put(job)

    def cancel(self, task_id: TaskId) -> bool:
        """See `port.Engine.cancel`. A thread that runs cannot be ended."""
        with self._lock:
            if task_id not in self._queued:
                return False
            self._queued.discard(task_id)
        self._on_report(Returned(task_id))
        return True

    def status(self) -> EngineStatus:
        """See `port.Engine.status`."""
        with self._lock:
            queued, running = len(self._queued), len(self._running)
        return EngineStatus(
            workers=self._workers,
            idle=self._workers - running,
            running=queued + running,
            more={
                "engine_type": self._label,
                "scaling_enabled": False,
                "max_workers_per_node": self._workers,
            },
        )

    def stop(self) -> None:
        """See `port.Engine.stop`. Threads that run end with the process."""
        self._on_report = lambda report: None
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                if job.task_id not in self._queued:
                    continue
                self._queued.discard(job.task_id)
                self._running.add(job.task_id)
            with self._answered_in_time(job):
                report = _run(job)
            with self._lock:
                self._running.discard(job.task_id)
                late = job.task_id in self._stuck
                self._stuck.discard(job.task_id)
            self._on_report(CapacityChanged() if late else report)

    @contextmanager
    def _answered_in_time(self, job: Job) -> Iterator[None]:
        """Answer for a job whose thread does not end with its time."""
        limit = time_limit.of(job, {})
        if limit is None:
            yield
            return
        began_ns = time.time_ns()
        timer = threading.Timer(
            limit.seconds + _GRACE_S, lambda: self._give_up(job, limit, began_ns)
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self, job: Job, limit: time_limit.Limit, began_ns: int) -> None:
        from chamberlain_endpoint.engine import worker

        with self._lock:
            if job.task_id not in self._running:
                return
            self._stuck.add(job.task_id)
        log.warning("task goes on", extra={"event": "task.stuck", "task": job.task_id})
        self._on_report(Finished(job.task_id, worker.overdue(job, limit, began_ns)))
        self._on_report(CapacityChanged())


def _run(job: Job) -> Finished | Lost:
    try:
        from chamberlain_endpoint.engine import worker

        return Finished(job.task_id, worker.run(job, own_process=False))
    except Exception as error:
        # The edge of the thread: a broken installation must not leave a task without an end.
        log.exception("task not run", extra={"event": "task.not_run", "task": job.task_id})
        return Lost(job.task_id, f"The task could not be run ({type(error).__name__}: {error}).")


def _import_worker() -> None:
    from chamberlain_endpoint.engine import worker

    worker.warm()
