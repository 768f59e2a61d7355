"""What we ask of whoever knows how a scheduler's jobs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chamberlain_endpoint.scheduler.records import Said


@dataclass(frozen=True, slots=True)
class Found:
    """A job that was found by its name."""

    job: str
    name: str


class Truth(Protocol):
    """Asks one scheduler. From one thread."""

    def ask(self, jobs: Sequence[str]) -> dict[str, Said]:
        """Return what is said of `jobs`; one that is not in it is not known.

        Raises:
            SchedulerSilentError: nothing is known of any of them.
        """

    def find(self, prefix: str) -> Found | None:
        """Return the live job whose name begins with `prefix`, if this scheduler can tell.

        Raises:
            SchedulerSilentError: it may be there, or not.
        """

    def doubt(self, job: str) -> None:
        """Ask again for `job`, whose end was not certain."""
