"""When to leave. Pure: it counts heartbeats, it has no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Leave(StrEnum):
    """Why to leave."""

    IDLE = "no task for a long time"
    STUCK = "tasks run, and none has ended for a very long time"


@dataclass(frozen=True, slots=True)
class Idle:
    """How many heartbeats have passed since something happened.

    Attributes:
        soft: leave after so many heartbeats without a task; 0 is never.
        hard: leave after so many heartbeats in which nothing came and nothing ended although
            tasks are here; 0, or `soft` being 0, is never.
        beats: heartbeats since the last task came or ended.
    """

    soft: int
    hard: int
    beats: int = 0

    def beat(self, *, moved: bool) -> Idle:
        """Return the count after a heartbeat.

        Args:
            moved: whether a task came or ended since the last one.
        """
        return replace(self, beats=0 if moved else self.beats + 1)

    def verdict(self, *, tasks: int) -> Leave | None:
        """Tell whether it is time to leave, with `tasks` not ended; None means stay."""
        if self.soft <= 0:
            return None
        if tasks == 0 and self.beats >= self.soft:
            return Leave.IDLE
        if 0 < self.hard <= self.beats:
            return Leave.STUCK
        return None
