"""How often somebody may ask."""

from __future__ import annotations

from chamberlain_hub.identity.rates import Rates


def test_a_burst_is_allowed_and_then_an_even_flow() -> None:
    rates = Rates()
    assert [rates.wait_s("alice", 5, 100.0) for _ in range(6)] == [0, 0, 0, 0, 0, 2]
    assert rates.wait_s("alice", 5, 101.9) == 1
    assert rates.wait_s("alice", 5, 102.0) == 0
    assert rates.wait_s("alice", 5, 102.0) == 2


def test_others_are_not_counted_in() -> None:
    rates = Rates()
    assert rates.wait_s("alice", 1, 0.0) == 0
    assert rates.wait_s("alice", 1, 0.0) == 10
    assert rates.wait_s("bob", 1, 0.0) == 0


def test_no_limit_counts_nothing() -> None:
    rates = Rates()
    assert {rates.wait_s("alice", 0, 0.0) for _ in range(1000)} == {0}
