"""Queues of a worker pool whose workers send in the thread that puts.

The queues of `multiprocessing` send in a thread of their own. A worker that is killed in its
next task may then hold the lock that all workers need, with half a result sent. Here a worker
holds no lock while it runs a task, so it can be killed without harm to the others.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from multiprocessing.reduction import ForkingPickler
from typing import Any


class DirectQueue(Queue):  # type: ignore[type-arg]
    """A queue without a thread in the processes that were started from the first."""

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Send `obj`; in a worker it has been written when this returns."""
        if multiprocessing.parent_process() is None:
            # The pool itself must never wait for its workers.
            super().put(obj, block, timeout)
            return
        inside: Any = self
        data = ForkingPickler.dumps(obj)
        inside._sem.acquire()
        with inside._wlock:
            inside._writer.send_bytes(data)


class DirectContext(ForkServerContext):
    """Starts processes as `forkserver` does, and makes such queues."""

    def Queue(self, maxsize: int = 0) -> Any:  # noqa: N802 - the name that callers know
        """Return a `DirectQueue`."""
        return DirectQueue(maxsize, ctx=self.get_context())
