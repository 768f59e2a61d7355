"""How jobs are, from Parsl's provider, for schedulers that we have no programs of our own for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.records import End, JobState, Said
from chamberlain_endpoint.scheduler.truth import Found

_ENDS: Final = MappingProxyType(
    {
        "COMPLETED": End.COMPLETED,
        "CANCELLED": End.CANCELLED,
        "TIMEOUT": End.TIMEOUT,
        "FAILED": End.FAILED,
        "MISSING": End.MISSING,
        "SCALED_IN": End.CANCELLED,
    }
)


class ParslTruth:
    """See `truth.Truth`.

    Args:
        provider: Parsl's.
        lock: held while it is used: it is for one thread at a time. `doubt` wants it held.
    """

    def __init__(self, provider: Any, lock: threading.Lock) -> None:
        self._provider = provider
        self._lock = lock

    def ask(self, jobs: Sequence[str]) -> dict[str, Said]:
        """See `truth.Truth.ask`."""
        try:
            with self._lock:
                states = self._provider.status(list(jobs))
        except Exception as error:
            # Parsl's providers raise what they like.
            raise SchedulerSilentError(f"{type(error).__name__}: {error}") from error
        return {job: _said(state) for job, state in zip(jobs, states, strict=True)}

    def find(self, prefix: str) -> Found | None:
        """See `truth.Truth.find`; Parsl's providers know their own jobs alone."""
        return None

    def doubt(self, job: str) -> None:
        """See `truth.Truth.doubt`. Parsl would not ask again for what it saw ended."""
        from parsl.jobs.states import JobState as Theirs
        from parsl.jobs.states import JobStatus

        self._provider.resources[job]["status"] = JobStatus(Theirs.PENDING)


def _said(state: Any) -> Said:
    name = state.state.name
    if name in _ENDS:
        # Most providers take what the scheduler does not name for completed.
        return Said(
            JobState.ENDED,
            state.message or "",
            _ENDS[name],
            exit_code=state.exit_code,
            certain=name != "COMPLETED",
        )
    live = JobState.RUNNING if name == "RUNNING" else JobState.QUEUED
    return Said(live, state.message or ("held" if name == "HELD" else ""))
