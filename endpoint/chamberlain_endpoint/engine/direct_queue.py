"""Queues of a worker pool whose workers may be killed at any time.

The queues of `multiprocessing` send in a thread of their own. A worker that is killed in its
next task may then hold the lock that all workers need, with half a result sent; and one that
waits for a task holds the readers' lock all the time, and takes it along. Here a worker holds
no lock while it runs a task or waits for one, so it can be killed without harm to the others.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
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

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object; a worker holds the lock for no longer than it reads.

        Raises:
            queue.Empty: none came in `timeout` seconds.
        """
        if multiprocessing.parent_process() is None or not block or timeout is None:
            return super().get(block, timeout)
        inside: Any = self
        deadline = time.monotonic() + timeout
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            if not inside._poll(left_s) or not inside._rlock.acquire(True, left_s):
                raise queue.Empty
            try:
                # Another one may have been quicker.
                data = inside._recv_bytes() if inside._poll() else None
            finally:
                inside._rlock.release()
            if data is not None:
                inside._sem.release()
                return ForkingPickler.loads(data)


class DirectContext(ForkServerContext):
    """Starts processes as `forkserver` does, and makes such queues."""

    def Queue(self, maxsize: int = 0) -> Any:  # noqa: N802 - the name that callers know
        """Return a `DirectQueue`."""
        return DirectQueue(maxsize, ctx=self.get_context())
