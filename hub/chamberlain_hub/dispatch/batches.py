"""One thread that hands on, in one call, all that arrived meanwhile.

It is what makes one transaction out of many messages without making the first one wait: the
batch is whatever came while the batch before was handled. A thread of its own, not the event
loop: a result goes from the broker's thread to here and back, two hops instead of four.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_MANY: Final = 8
"""From how many items on a batch shows that they come faster than one by one."""

_RETRY_S: Final = (0.05, 0.2, 1.0, 2.0, 5.0)


class Batches(Generic[T]):
    """Calls `handle` with what `put` brought.

    Args:
        name: of the thread, for the log.
        handle: gets at most `most` items, oldest first. When it raises, it gets the same items
            again after a pause, for ever: it must let through only what a later try can heal.
        linger_s: how long to gather after the first item of a batch.
        busy_linger_s: the same, after a batch of many items: larger batches cost less, and
            who sends many at once waits for the last one, not for the first.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[list[T]], None],
        *,
        linger_s: float = 0.0,
        busy_linger_s: float = 0.0,
        most: int = 256,
    ) -> None:
        self._name = name
        self._handle = handle
        self._linger_s = linger_s
        self._busy_linger_s = max(linger_s, busy_linger_s)
        self._most = most
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Bring one item (any thread, never blocks)."""
        self._items.put(item)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Handle what has been put, then end the thread. Safe to call twice."""
        self._stopping.set()
        self._items.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        more, linger_s = True, self._linger_s
        while more:
            batch, more = self._next(linger_s)
            linger_s = self._busy_linger_s if len(batch) >= _MANY else self._linger_s
            if batch:
                self._insist(batch)

    def _next(self, linger_s: float) -> tuple[list[T], bool]:
        item = self._items.get()
        if item is None:
            return [], False
        batch = [item]
        if linger_s:
            self._stopping.wait(linger_s)
        while len(batch) < self._most:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, False
            batch.append(item)
        return batch, True

    def _insist(self, batch: list[T]) -> None:
        tries = 0
        while True:
            try:
                self._handle(batch)
            except Exception:  # edge of the thread: log, wait, try again
                log.exception(
                    "batch failed, trying again",
                    extra={"event": "batch.failed", "reason": self._name, "count": len(batch)},
                )
            else:
                return
            # Who stops us does not want to wait for a database that does not come back; what
            # is not done is not acknowledged either, and comes again at the next start.
            if self._stopping.wait(_RETRY_S[min(tries, len(_RETRY_S) - 1)]):
                return
            tries += 1
