"""When to stop asking for blocks: after so many failures in a row. Pure.

Without it, a template that cannot work (a module that is gone, a wrong environment) would submit
jobs for as long as somebody waits. It closes when a task ran, when an administrator says so,
or when the configuration is another one; never by time, since a repeat would fail alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_FAILURES: Final = 3


@dataclass(frozen=True, slots=True)
class Breaker:
    """Failures of blocks, one after the other.

    Attributes:
        failures: since a task ran.
        reason: what became of the last one, for callers.
        at: when it failed, UTC, seconds since the epoch.
    """

    failures: int = 0
    reason: str = ""
    at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether no block may be asked for."""
        return self.failures >= MOST_FAILURES

    def failed(self, reason: str, *, at: float) -> Breaker:
        """Return the breaker after a block that failed."""
        return Breaker(self.failures + 1, reason, at)

    def sentence(self) -> str:
        """Return what to tell callers while it is open."""
        return (
            f"The endpoint asks for no more nodes: {self.failures} blocks in a row failed. The "
            f"last one: {self.reason} Ask the endpoint's administrator to look at it, and to "
            "allow nodes again (chamberlain-endpoint reset-breaker)."
        )
