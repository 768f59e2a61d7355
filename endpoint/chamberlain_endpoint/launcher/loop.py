"""One thread that waits for many descriptors and moments, and never for one of them.

`asyncio` does the same with a hundred times the code, and loads TLS and its threads with it;
root's process has one loop that can be read in a minute.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import selectors
import time
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger(__name__)

Callback = Callable[[], None]


class Timer:
    """A moment that somebody waits for. `cancel()` it when it does not matter any more."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Forget it; twice is harmless."""
        self.callback = None


class Loop:
    """Calls back when a descriptor is ready or a moment has come. All in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wanted: dict[int, dict[int, Callback]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopping = False

    def on_readable(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` can be read, or its other end is gone."""
        self._want(fd, selectors.EVENT_READ, callback)

    def on_writable(self, fd: int, callback: Callback | None) -> None:
        """Call `callback` whenever `fd` can be written; None: no longer."""
        self._want(fd, selectors.EVENT_WRITE, callback)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer. Call it before the descriptor is closed; twice is harmless."""
        if self._wanted.pop(fd, None):
            self._selector.unregister(fd)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call `callback` once, `delay_s` seconds from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Call back until `stop()`."""
        while not self._stopping:
            self.turn()

    def stop(self) -> None:
        """Let `run` return after the present turn."""
        self._stopping = True

    def turn(self) -> None:
        """Wait for the next things to happen and answer them."""
        for key, events in self._selector.select(self._wait_s()):
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                # Looked up at this moment: an earlier callback may have forgotten the fd.
                callback = self._wanted.get(key.fd, {}).get(events & event)
                if callback is not None:
                    _guarded(callback)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                _guarded(timer.callback)

    def close(self) -> None:
        """Give the kernel's resources back."""
        self._selector.close()

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _want(self, fd: int, event: int, callback: Callback | None) -> None:
        before = self._wanted.get(fd, {})
        wanted = {kind: call for kind, call in before.items() if kind != event}
        if callback is not None:
            wanted[event] = callback
        if not wanted:
            self.forget(fd)
            return
        mask = sum(wanted)
        if not before:
            self._selector.register(fd, mask)
        elif before.keys() != wanted.keys():
            self._selector.modify(fd, mask)
        self._wanted[fd] = wanted


def _guarded(callback: Callback) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 (the edge: one request's fault must not end root's loop)
        _log.exception("a callback failed", extra={"event": "launcher.fault"})
