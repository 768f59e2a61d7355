"""What we know of each block's job: asked, queued, running, ended. Pure.

A record moves forward by what a scheduler says. The first end that it is told of counts: job
ids are forgotten after minutes, and a later look would take that for another end. Silence is
no news: a scheduler that does not answer leaves the record as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is."""

    ASKED = "asked"
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class End(StrEnum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    STUCK = "stuck"
    """It would have waited for ever; we took it back."""
    MISSING = "missing"
    """The scheduler answers, and knows nothing of it any more."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a scheduler says of one job.

    Attributes:
        reason: the scheduler's own word, such as `Resources` or `JobHeldAdmin`; empty: none.
        end: set when `state` is ENDED, and only then.
        exit_code: of the job script; None is not known.
        signal: that ended it; 0 is none.
        node: where it runs or ran.
        certain: False when an end may only mean that the job is not in the books yet.
    """

    state: JobState
    reason: str = ""
    end: End | None = None
    exit_code: int | None = None
    signal: int = 0
    node: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One block's job.

    Attributes:
        job: the scheduler's id.
        asked_s: when it was submitted; monotonic, as all here.
        since_s: when `said` became what it is: its state or its reason.
        unknown: how many answers in a row did not name it.
        cancelled: we asked for its end.
    """

    block: str
    job: str
    asked_s: float
    since_s: float
    said: Said = Said(JobState.ASKED)
    unknown: int = 0
    cancelled: bool = False

    def heard(self, said: Said, *, now_s: float) -> Record:
        """Return the record after `said`; what is said after the end changes nothing."""
        if self.said.state is JobState.ENDED:
            return self
        same = (said.state, said.reason) == (self.said.state, self.said.reason)
        return replace(self, said=said, since_s=self.since_s if same else now_s, unknown=0)

    def unheard(self, *, now_s: float, young_s: float, most: int) -> Record:
        """Return the record after an answer that did not name the job.

        Args:
            young_s: a job may be unknown for so long after its submission.
            most: so many such answers in a row end it as missing.
        """
        if self.said.state is JobState.ENDED or now_s - self.asked_s < young_s:
            return self
        if self.unknown + 1 < most:
            return replace(self, unknown=self.unknown + 1)
        end = End.CANCELLED if self.cancelled else End.MISSING
        return replace(self, said=Said(JobState.ENDED, end=end), since_s=now_s)
