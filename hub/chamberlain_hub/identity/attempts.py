"""Wrong secrets are counted, and whoever presents many has to wait.

A secret of 256 bits cannot be guessed; the bound keeps a program with an old secret, which
tries again for ever, from filling log and database. Counted by client id and address of the
caller together, so that a stranger who knows an id does not lock its owner out. Each hub
process counts for itself.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Final

_MOST_KEYS: Final = 4096


class Attempts:
    """Wrong secrets of the last while. Thread-safe.

    Args:
        most: how many wrong ones within a window are answered.
        window_s: how long a window is.
    """

    def __init__(self, most: int = 10, window_s: float = 60.0) -> None:
        self._most = most
        self._window_s = window_s
        self._lock = threading.Lock()
        # Key -> (start of its window, wrong ones since then). The oldest goes when it is full.
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def wait_s(self, key: tuple[str, str], now: float) -> int:
        """Return how long `key` has to wait before its secret is looked at: 0 or seconds.

        Args:
            now: monotonic seconds.
        """
        with self._lock:
            start, count = self._seen.get(key, (now, 0))
        left_s = start + self._window_s - now
        return math.ceil(left_s) if count >= self._most and left_s > 0 else 0

    def note_wrong(self, key: tuple[str, str], now: float) -> None:
        """Count one wrong secret of `key`."""
        with self._lock:
            start, count = self._seen.pop(key, (now, 0))
            if now - start >= self._window_s:
                start, count = now, 0
            self._seen[key] = (start, count + 1)
            if len(self._seen) > _MOST_KEYS:
                self._seen.popitem(last=False)
