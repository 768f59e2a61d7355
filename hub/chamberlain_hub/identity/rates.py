"""Requests are counted for each identity, so that one program's loop leaves room for others.

A bucket for each: it fills again evenly, and holds what may come in one burst. Each hub process
counts for itself.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 10.0
_MOST_IDENTITIES: Final = 10_000


class Rates:
    """Who asked how often of late. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Identity -> (requests that it may still make, as of when). The oldest goes when full.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, identity: str, most: int, now: float) -> int:
        """Count one request; return 0, or after how many whole seconds to ask again.

        Args:
            most: requests within `WINDOW_S`; 0 is no limit.
            now: monotonic seconds.
        """
        if not most:
            return 0
        a_second = most / WINDOW_S
        with self._lock:
            left, then = self._left.pop(identity, (float(most), now))
            left = min(float(most), left + (now - then) * a_second)
            allowed = left >= 1
            self._left[identity] = (left - 1 if allowed else left, now)
            if len(self._left) > _MOST_IDENTITIES:
                self._left.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / a_second))
