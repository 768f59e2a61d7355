"""When a user endpoint leaves by itself."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.user.idle import Idle, Leave


def after(idle: Idle, beats: int) -> Idle:
    for _ in range(beats):
        idle = idle.beat(moved=False)
    return idle


@pytest.mark.parametrize(
    ("soft", "hard", "beats", "tasks", "verdict"),
    [
        (0, 1, 1000, 0, None),
        (0, 1, 1000, 5, None),
        (3, 10, 2, 0, None),
        (3, 10, 3, 0, Leave.IDLE),
        (3, 10, 9, 1, None),
        (3, 10, 10, 1, Leave.STUCK),
        (3, 10, 10, 0, Leave.IDLE),
        (3, 0, 1000, 1, None),
        (3, 2, 2, 0, Leave.STUCK),
    ],
)
def test_it_leaves_when_nothing_moves_for_long_enough(
    soft: int, hard: int, beats: int, tasks: int, verdict: Leave | None
) -> None:
    assert after(Idle(soft, hard), beats).verdict(tasks=tasks) is verdict


def test_a_task_that_moves_begins_the_count_again() -> None:
    idle = after(Idle(3, 10), 2).beat(moved=True)
    assert after(idle, 2).verdict(tasks=0) is None
    assert after(idle, 3).verdict(tasks=0) is Leave.IDLE
