"""What was looked up a moment ago is believed, until it is forgotten or too old."""

from __future__ import annotations

from chamberlain_hub.dispatch.recent import Recent


def test_a_value_is_looked_up_once_until_it_is_too_old() -> None:
    asked, now = [], [0.0]

    def load(key: str) -> str:
        asked.append(key)
        return key.upper()

    recent = Recent(load, for_s=1.0, clock=lambda: now[0])
    assert [recent.get("a"), recent.get("a")] == ["A", "A"]
    now[0] = 1.0
    recent.get("a")
    assert asked == ["a", "a"]


def test_what_is_not_there_is_looked_up_each_time() -> None:
    found: list[str | None] = [None, "there"]
    recent = Recent(lambda _: found.pop(0), for_s=60.0)
    assert recent.get("a") is None
    assert recent.get("a") == "there"


def test_what_changed_is_looked_up_again() -> None:
    values = iter("ab")
    recent = Recent(lambda _: next(values), for_s=60.0)
    recent.get("x")
    recent.forget("x")
    assert recent.get("x") == "b"


def test_a_value_that_changed_while_it_was_looked_up_is_not_remembered() -> None:
    values = iter(["old", "new"])

    def load(key: str) -> str:
        value = next(values)
        if value == "old":
            recent.forget(key)
        return value

    recent = Recent(load, for_s=60.0)
    assert recent.get("x") == "old"
    assert recent.get("x") == "new"


def test_no_more_is_remembered_than_allowed() -> None:
    recent = Recent(lambda key: key, for_s=60.0, most=2)
    for key in "abcd":
        recent.get(key)
    assert len(recent._known) <= 2
