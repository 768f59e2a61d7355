"""How far ahead of its capacity an engine is fed. Pure: the time is an argument.

A task that was handed over counts as started, and a crash loses it; but an engine that gets
its next task only after the last one's report idles for the time of that report. So: hand
over ahead what the engine finished in the last `SPAN_S`. Long tasks give nothing to lose,
short ones keep the engine busy, and a crash costs a tenth of a second of work.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SPAN_S: Final = 0.1
MOST_AHEAD: Final = 2_000


class Pace:
    """What the engine finished lately."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, int]] = deque()
        self._sum = 0

    def note(self, count: int, *, now_s: float) -> None:
        """Note that `count` tasks ended at `now_s` (monotonic clock)."""
        if count:
            self._ended.append((now_s, count))
            self._sum += count

    def ahead(self, *, now_s: float) -> int:
        """Return how many tasks to hand over beyond the engine's capacity."""
        while self._ended and self._ended[0][0] < now_s - SPAN_S:
            self._sum -= self._ended.popleft()[1]
        return min(self._sum, MOST_AHEAD)
