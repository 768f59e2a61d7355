"""The life of one wish ("start this user endpoint"), as a table. Pure: no clock, no I/O.

The reconciler looks at the world, turns what it sees into a `Seen`, asks `move`, and carries
out the answer. What the hub is told follows from the move, so it cannot be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from chamberlain_wire.errors import IllegalMoveError
from chamberlain_wire.messages import EventKind

START_WINDOW_S: Final = 30.0
"""A user endpoint that fails within this time of its launch is a failed start."""

_CONFIG_REFUSED: Final = 78
_CREDENTIAL_REFUSED: Final = 75


class State(StrEnum):
    """Where a wish is. Only the first three are ever kept."""

    WISHED = "wished"
    ADMITTED = "admitted"
    STARTED = "started"
    JOINED = "joined"
    REFUSED = "refused"
    FAILED = "failed"
    GONE = "gone"


KEPT: Final = frozenset({State.WISHED, State.ADMITTED, State.STARTED})
"""States that have a future; a wish in any other is forgotten."""


class Seen(StrEnum):
    """What can be seen of a wish."""

    VERDICT_YES = "verdict-yes"
    VERDICT_NO = "verdict-no"
    LAUNCHED = "launched"
    RAN_ALREADY = "ran-already"
    LAUNCH_REFUSED = "launch-refused"
    OUT_OF_TIME = "out-of-time"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Move:
    """What follows: the next state, and what the hub is told."""

    state: State
    tell: EventKind


_MOVES: Final = MappingProxyType(
    {
        (State.WISHED, Seen.VERDICT_YES): Move(State.ADMITTED, "admitted"),
        (State.WISHED, Seen.VERDICT_NO): Move(State.REFUSED, "refused"),
        # Nobody's fault: `ended` lets the hub ask again, `failed` would end the tasks.
        (State.WISHED, Seen.OUT_OF_TIME): Move(State.GONE, "ended"),
        (State.ADMITTED, Seen.OUT_OF_TIME): Move(State.GONE, "ended"),
        (State.ADMITTED, Seen.LAUNCHED): Move(State.STARTED, "started"),
        (State.ADMITTED, Seen.RAN_ALREADY): Move(State.JOINED, "started"),
        (State.ADMITTED, Seen.LAUNCH_REFUSED): Move(State.FAILED, "failed"),
        # After a crash between launch and record, the world is ahead of the records.
        (State.ADMITTED, Seen.ENDED): Move(State.GONE, "ended"),
        (State.ADMITTED, Seen.FAILED): Move(State.FAILED, "failed"),
        (State.STARTED, Seen.ENDED): Move(State.GONE, "ended"),
        (State.STARTED, Seen.FAILED): Move(State.FAILED, "failed"),
    }
)


def move(state: State, seen: Seen) -> Move:
    """Return what follows when `seen` is seen of a wish in `state`.

    Raises:
        IllegalMoveError: the table has no such move: the caller acted on a stale picture.
            Look at the records again, do not retry.
    """
    try:
        return _MOVES[state, seen]
    except KeyError:
        raise IllegalMoveError(state, seen) from None


@dataclass(frozen=True, slots=True)
class End:
    """How a user endpoint's end is to be read.

    Attributes:
        seen: `ENDED` (the hub may start it again) or `FAILED` (the same again would fail).
        clean: it left on purpose.
    """

    seen: Seen
    clean: bool


def judge_end(*, exit_code: int | None, ran_s: float) -> End:
    """Return how to read the end of a user endpoint that ran for `ran_s` seconds.

    Args:
        exit_code: None when a signal ended it: then nothing says that its configuration is
            at fault, and it may be started again.
    """
    if exit_code == 0:
        return End(Seen.ENDED, clean=True)
    if exit_code == _CONFIG_REFUSED:
        return End(Seen.FAILED, clean=False)
    # A refused credential is cured by a new start, which brings a new one.
    if exit_code is None or exit_code == _CREDENTIAL_REFUSED or ran_s > START_WINDOW_S:
        return End(Seen.ENDED, clean=False)
    return End(Seen.FAILED, clean=False)


def retry_delay_s(failures: int) -> float:
    """Return how long to wait before the next try, in seconds.

    Args:
        failures: tries in a row that did not reach the other side, >= 1.

    Returns:
        0.1, 0.2, 0.4 ... and never above 10.
    """
    # Bound the exponent, not only the result: 2 ** 5000 does not fit a float.
    return float(min(0.1 * 2 ** min(failures - 1, 10), 10.0))
