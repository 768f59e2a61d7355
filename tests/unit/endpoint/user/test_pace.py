"""How far ahead an engine is fed."""

from __future__ import annotations

from chamberlain_endpoint.user.pace import MOST_AHEAD, SPAN_S, Pace


def test_nothing_is_handed_over_ahead_while_nothing_ends() -> None:
    assert Pace().ahead(now_s=10.0) == 0


def test_what_ended_lately_is_handed_over_ahead() -> None:
    pace = Pace()
    pace.note(3, now_s=10.0)
    pace.note(4, now_s=10.0 + SPAN_S / 2)
    assert pace.ahead(now_s=10.0 + SPAN_S / 2) == 7
    assert pace.ahead(now_s=10.0 + SPAN_S * 1.2) == 4
    assert pace.ahead(now_s=20.0) == 0


def test_there_is_a_limit() -> None:
    pace = Pace()
    pace.note(10 * MOST_AHEAD, now_s=1.0)
    assert pace.ahead(now_s=1.0) == MOST_AHEAD
