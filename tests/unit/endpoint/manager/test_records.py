"""The manager's memory: what it says it keeps, it has after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.manager.life import State
from chamberlain_endpoint.manager.records import Records, RecordsError, Wish
from chamberlain_wire.ids import CommandId, EndpointId, new_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import EndpointEvent

UEP = EndpointId(new_id())
EVENT = EndpointEvent(kind="admitted", user_endpoint=UEP, message="it's ünïcode")


def wish(user_endpoint: EndpointId = UEP) -> Wish:
    return Wish(
        command=CommandId(new_id()),
        user_endpoint=user_endpoint,
        assertion="statement",
        options={"a": [1, None, "x"]},
        runtime={},
        credentials=Secret('{"secret": 1}'),
        expires_at=100.0,
    )


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records.db")
    records.open()
    yield records
    records.close()


def reopen(records: Records) -> None:
    records.close()
    records.open()


def test_a_wish_is_there_after_a_restart(records: Records) -> None:
    wanted = wish()
    assert records.wish(wanted, remember_until=1.0)
    reopen(records)
    assert records.all() == [wanted]
    assert records.of(UEP) == [wanted]


def test_an_id_is_good_once_even_after_a_restart_and_an_end(records: Records) -> None:
    wanted = wish()
    assert records.wish(wanted, remember_until=1.0)
    records.settle(wanted, State.REFUSED, EVENT)
    reopen(records)
    assert not records.wish(wanted, remember_until=1.0)
    assert records.all() == []


def test_used_ids_are_forgotten_when_nobody_would_believe_them(records: Records) -> None:
    wanted = wish()
    records.wish(wanted, remember_until=10.0)
    records.settle(wanted, State.REFUSED, EVENT)
    records.forget_used(9.0)
    assert not records.wish(wanted, remember_until=10.0)
    records.forget_used(11.0)
    assert records.wish(wanted, remember_until=10.0)


def test_a_move_and_its_event_are_one(records: Records) -> None:
    wanted = wish()
    records.wish(wanted, remember_until=1.0)
    admitted = records.settle(wanted, State.ADMITTED, EVENT)
    assert admitted.state is State.ADMITTED
    reopen(records)
    assert records.all() == [admitted]
    assert [event for _, event in records.events(9)] == [EVENT]


def test_secrets_go_when_it_started(records: Records) -> None:
    wanted = wish()
    records.wish(wanted, remember_until=1.0)
    started = records.settle(wanted, State.STARTED, EVENT, started_at=5.0)
    (kept,) = records.all()
    assert kept == started
    assert (kept.assertion, kept.credentials.reveal(), kept.started_at) == ("", "", 5.0)


@pytest.mark.parametrize("state", [State.JOINED, State.REFUSED, State.FAILED, State.GONE])
def test_what_has_no_future_is_forgotten(records: Records, state: State) -> None:
    wanted = wish()
    records.wish(wanted, remember_until=1.0)
    records.settle(wanted, state, EVENT)
    assert records.all() == []


def test_events_keep_their_order_until_they_are_dropped(records: Records) -> None:
    wanted = wish()
    records.wish(wanted, remember_until=1.0)
    for state in (State.ADMITTED, State.STARTED, State.GONE):
        records.settle(wanted, state, EndpointEvent(kind="ended", user_endpoint=UEP, code=state))
    assert [event.code for _, event in records.events(2)] == ["admitted", "started"]
    records.drop_events(number for number, _ in records.events(2))
    reopen(records)
    assert [event.code for _, event in records.events(9)] == ["gone"]


def test_only_the_unknown_is_adopted(records: Records) -> None:
    wanted = wish()
    assert records.adopt(wanted)
    assert not records.adopt(wanted)


def test_a_later_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version=99")
    sql.close()
    records = Records(path)
    with pytest.raises(RecordsError, match="99"):
        records.open()
    records.close()
