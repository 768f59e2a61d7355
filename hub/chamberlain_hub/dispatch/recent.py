"""Remembers what was looked up a moment ago, for the hot path. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by id, each for a while.

    Args:
        load: looks a value up; None is not remembered.
        for_s: how long a value is believed, and so how long a change that another hub made
            may stay unseen.
        most: how many are remembered.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        load: Callable[[str], T | None],
        *,
        for_s: float,
        most: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._for_s = for_s
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, T]] = {}
        self._changes = 0

    def get(self, key: str) -> T | None:
        """Return the value of `key`, looked up if it is not known."""
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
            if known is not None and now - known[0] < self._for_s:
                return known[1]
            changes = self._changes
        value = self._load(key)
        with self._lock:
            # What was forgotten while we looked may be what we found.
            if value is not None and changes == self._changes:
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[key] = (now, value)
        return value

    def forget(self, key: str) -> None:
        """Look `key` up again next time: it has changed."""
        with self._lock:
            self._changes += 1
            self._known.pop(key, None)
