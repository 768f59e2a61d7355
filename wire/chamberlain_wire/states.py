"""The life of a task as everybody sees it, and its legal moves. Pure.

The words are those of the public clients. A task only ever moves forward, and ends once:
a late or repeated report is not an error, it is simply no change.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class TaskState(StrEnum):
    """Where a task is."""

    RECEIVED = "received"
    WAITING_FOR_ENDPOINT = "waiting-for-ep"
    WAITING_FOR_NODES = "waiting-for-nodes"
    WAITING_FOR_LAUNCH = "waiting-for-launch"
    EXECUTION_START = "execution-start"
    RUNNING = "running"
    EXECUTION_END = "execution-end"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ORDER: Final = MappingProxyType({state: place for place, state in enumerate(TaskState)})

ENDED: Final = frozenset({TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED})
"""States that a task never leaves."""


def moves_to(now: TaskState, seen: TaskState) -> bool:
    """Tell whether a task in `now` moves when `seen` is reported.

    False means: the report is late, repeated, or comes after the end. Ignore it.
    """
    return now not in ENDED and _ORDER[seen] > _ORDER[now]


class CancelAnswer(StrEnum):
    """What the hub says to a wish to cancel one task.

    After `CANCELLED` and `ASKED` the task is over at the hub, and no result of it will come.
    """

    CANCELLED = "cancelled"
    """Nobody has it that could be told: it will not run, or what comes of it is dropped."""
    ASKED = "asked"
    """Its user endpoint was told to end it."""
    ENDED = "ended"
    """It had ended before."""
    UNKNOWN = "unknown"
    """There is no such task, or it is somebody else's."""


class CancelOutcome(StrEnum):
    """What became of a cancelled task on site, as its user endpoint told."""

    BEFORE_START = "before_start"
    """It did not run."""
    KILLED = "killed"
    """Its process was ended, with all that it had started."""
    GOES_ON = "goes_on"
    """It runs in a thread, which cannot be ended; its result will be dropped."""
    LATE = "late"
    """It had run to its end; its result was dropped."""


class UserEndpointState(StrEnum):
    """Where a user endpoint is, as the hub and the manager tell each other."""

    ASKED = "asked"
    ADMITTED = "admitted"
    SERVING = "serving"
    STOPPING = "stopping"
    GONE = "gone"
    REFUSED = "refused"
    FAILED = "failed"
