"""A signed statement is believed once, and only here and now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import ENDPOINT, Hub, make_assertion

from chamberlain_endpoint.identity.assertion import AssertionDesk, UsedIds, UsedIdsError
from chamberlain_wire.assertion import AssertionRefusedError
from chamberlain_wire.ids import new_id

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def used(tmp_path: Path) -> Iterator[UsedIds]:
    ids = UsedIds(tmp_path / "used.db")
    ids.open()
    yield ids
    ids.close()


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(hub: Hub, used: UsedIds, clock: Clock) -> AssertionDesk:
    keys = (Hub().public_key, hub.public_key)
    return AssertionDesk(lambda: keys, ENDPOINT, used, clock)


def test_a_good_statement_may_be_looked_at_often_and_used_once(
    desk: AssertionDesk, hub: Hub
) -> None:
    token = hub.token(issued_at=NOW)
    for _ in range(2):
        assertion = desk.verify(token)
    desk.consume(assertion)
    with pytest.raises(AssertionRefusedError, match="used before"):
        desk.verify(token)
    with pytest.raises(AssertionRefusedError, match="used before"):
        desk.consume(assertion)


def test_what_was_used_stays_used_after_a_restart(
    desk: AssertionDesk, used: UsedIds, hub: Hub
) -> None:
    token = hub.token(issued_at=NOW)
    desk.consume(desk.verify(token))
    used.close()
    used.open()
    with pytest.raises(AssertionRefusedError, match="used before"):
        desk.verify(token)


def test_a_statement_that_expires_on_the_way_is_not_used(
    desk: AssertionDesk, hub: Hub, clock: Clock
) -> None:
    assertion = desk.verify(hub.token(issued_at=NOW))
    clock.now += 121
    with pytest.raises(AssertionRefusedError, match="expired"):
        desk.consume(assertion)


def test_ids_are_forgotten_only_when_their_statement_could_not_be_believed(
    used: UsedIds,
) -> None:
    used.note("old", NOW, NOW)
    used.note("new", NOW + 1000, NOW + 179)
    assert used.has("old")
    used.note("newer", NOW + 1000, NOW + 181)
    assert not used.has("old")
    assert used.has("new")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"endpoint": new_id()}, "is for endpoint"),
        ({"issued_at": NOW - 600}, "expired"),
        ({"issued_at": NOW + 600}, "in the future"),
        ({"issued_at": NOW, "life_s": 3600.0}, "longer than the limit"),
        ({"issued_at": NOW, "user_endpoint": "../x"}, "no canonical UUID"),
        ({"issued_at": NOW, "user_endpoint": new_id().upper()}, "no canonical UUID"),
        ({"issued_at": NOW, "assertion_id": "x" * 1000}, "no canonical UUID"),
    ],
)
def test_a_statement_with_a_flaw_is_refused(
    desk: AssertionDesk, hub: Hub, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(AssertionRefusedError, match=reason):
        desk.verify(hub.token(**changes))


@pytest.mark.parametrize("token", ["", "x", "a.b", "é.é", "x" * 40_000])
def test_what_is_no_statement_is_refused(desk: AssertionDesk, token: str) -> None:
    with pytest.raises(AssertionRefusedError):
        desk.verify(token)


def test_another_hubs_signature_counts_for_nothing(desk: AssertionDesk) -> None:
    with pytest.raises(AssertionRefusedError, match="no key"):
        desk.verify(Hub().sign(make_assertion(issued_at=NOW)))


def test_a_memory_that_cannot_be_read_refuses_everything(
    desk: AssertionDesk, hub: Hub, used: UsedIds, tmp_path: Path
) -> None:
    used.close()
    (tmp_path / "used.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(UsedIdsError):
        used.open()
    with pytest.raises(UsedIdsError):
        desk.verify(hub.token(issued_at=NOW))
