"""The table of a wish's life, every pair of it; and how an end is read."""

from __future__ import annotations

import itertools

import pytest

from chamberlain_endpoint.manager.life import (
    KEPT,
    Move,
    Seen,
    State,
    judge_end,
    move,
    retry_delay_s,
)
from chamberlain_wire.errors import IllegalMoveError

MOVES = {
    (State.WISHED, Seen.VERDICT_YES): Move(State.ADMITTED, "admitted"),
    (State.WISHED, Seen.VERDICT_NO): Move(State.REFUSED, "refused"),
    (State.WISHED, Seen.OUT_OF_TIME): Move(State.GONE, "ended"),
    (State.ADMITTED, Seen.OUT_OF_TIME): Move(State.GONE, "ended"),
    (State.ADMITTED, Seen.LAUNCHED): Move(State.STARTED, "started"),
    (State.ADMITTED, Seen.RAN_ALREADY): Move(State.JOINED, "started"),
    (State.ADMITTED, Seen.LAUNCH_REFUSED): Move(State.FAILED, "failed"),
    (State.ADMITTED, Seen.ENDED): Move(State.GONE, "ended"),
    (State.ADMITTED, Seen.FAILED): Move(State.FAILED, "failed"),
    (State.STARTED, Seen.ENDED): Move(State.GONE, "ended"),
    (State.STARTED, Seen.FAILED): Move(State.FAILED, "failed"),
}


@pytest.mark.parametrize(("state", "seen"), list(itertools.product(State, Seen)))
def test_every_pair_is_as_the_table_says(state: State, seen: Seen) -> None:
    if (state, seen) in MOVES:
        assert move(state, seen) == MOVES[state, seen]
    else:
        with pytest.raises(IllegalMoveError):
            move(state, seen)


def test_nothing_moves_once_it_is_forgotten() -> None:
    assert not {state for state, _ in MOVES} - KEPT


@pytest.mark.parametrize(
    ("exit_code", "ran_s", "seen", "clean"),
    [
        (0, 1.0, Seen.ENDED, True),
        (0, 9999.0, Seen.ENDED, True),
        (78, 1.0, Seen.FAILED, False),
        (78, 9999.0, Seen.FAILED, False),
        (75, 1.0, Seen.ENDED, False),
        (None, 1.0, Seen.ENDED, False),
        (None, 9999.0, Seen.ENDED, False),
        (70, 29.0, Seen.FAILED, False),
        (1, 29.0, Seen.FAILED, False),
        (70, 31.0, Seen.ENDED, False),
    ],
)
def test_an_end_is_read_by_its_code_and_its_time(
    exit_code: int | None, ran_s: float, seen: Seen, clean: bool
) -> None:
    end = judge_end(exit_code=exit_code, ran_s=ran_s)
    assert (end.seen, end.clean) == (seen, clean)


def test_the_delay_grows_and_has_an_end() -> None:
    delays = [retry_delay_s(failures) for failures in (1, 2, 3, 8, 100, 10**9)]
    assert delays == [0.1, 0.2, 0.4, 10.0, 10.0, 10.0]
