"""Events go out at once, stay until the broker has them, and none is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.unit.endpoint.manager.test_records import wish

from chamberlain_endpoint.manager.events import next_portion
from chamberlain_endpoint.manager.heartbeat import Heartbeat
from chamberlain_endpoint.manager.life import State
from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.broker.port import LinkLostError
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.messages import EndpointEvent, StatusReport

WAIT_S = 10.0


class Wire:
    """Takes reports, or loses them."""

    def __init__(self) -> None:
        self.reports: list[StatusReport] = []
        self.lost = 0
        self.is_up = True
        self.changed = threading.Condition()

    def publish(self, body: bytes) -> Future[None]:
        future: Future[None] = Future()
        with self.changed:
            if self.is_up:
                self.reports.append(decode(body, StatusReport))
                future.set_result(None)
            else:
                self.lost += 1
                future.set_exception(LinkLostError("down"))
            self.changed.notify_all()
        return future

    def wait(self, count: int) -> StatusReport:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.reports) >= count, WAIT_S)
            return self.reports[count - 1]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records.db")
    records.open()
    yield records
    records.close()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def heartbeat(records: Records, wire: Wire) -> Iterator[Heartbeat]:
    errors: list[BaseException] = []
    heartbeat = Heartbeat(records, period_s=30.0, on_fatal=errors.append)
    heartbeat.open(EndpointId(new_id()), wire.publish)
    yield heartbeat
    heartbeat.close()
    assert errors == []


def note(records: Records, code: str, message: str = "") -> None:
    wanted = wish()
    records.wish(wanted, remember_until=1.0)
    event = EndpointEvent(
        kind="refused", user_endpoint=wanted.user_endpoint, code=code, message=message
    )
    records.settle(wanted, State.REFUSED, event)


def test_events_do_not_wait_for_the_next_beat(
    records: Records, wire: Wire, heartbeat: Heartbeat
) -> None:
    note(records, "one")
    note(records, "two")
    heartbeat.soon()
    report = wire.wait(1)
    assert [event.code for event in report.events] == ["one", "two"]
    assert report.global_state == {"heartbeat_period": 30.0}
    heartbeat.soon()
    assert wire.wait(2).events == []


def test_what_was_not_confirmed_is_sent_again(
    records: Records, wire: Wire, heartbeat: Heartbeat
) -> None:
    wire.is_up = False
    note(records, "one")
    heartbeat.soon()
    with wire.changed:
        assert wire.changed.wait_for(lambda: wire.lost, WAIT_S)
    wire.is_up = True
    heartbeat.soon()
    assert [event.code for event in wire.wait(1).events] == ["one"]


def test_many_events_go_in_portions_that_fit(
    records: Records, wire: Wire, heartbeat: Heartbeat
) -> None:
    for number in range(30):
        note(records, str(number), "x" * 50_000)
    numbers, events = next_portion(records)
    assert 1 < len(events) == len(numbers) < 30
    heartbeat.soon()
    with wire.changed:
        assert wire.changed.wait_for(
            lambda: sum(len(report.events) for report in wire.reports) == 30, WAIT_S
        )
    told = [event.code for report in wire.reports for event in report.events]
    assert told == [str(number) for number in range(30)]


def test_the_last_beat_says_good_bye(records: Records, wire: Wire, heartbeat: Heartbeat) -> None:
    note(records, "one")
    heartbeat.close()
    assert wire.reports[-1].global_state == {"heartbeat_period": 0.0}
    assert [event.code for event in wire.reports[-1].events] == ["one"]


@pytest.mark.slow
def test_a_change_of_what_it_says_about_itself_does_not_wait_for_the_beat(records: Records) -> None:
    wire = Wire()
    said = {"site_digest": "a"}
    heartbeat = Heartbeat(records, period_s=3600.0, on_fatal=pytest.fail, state=lambda: dict(said))
    heartbeat.open(EndpointId(new_id()), wire.publish)
    heartbeat.soon()
    assert wire.wait(1).seen == {"heartbeat_period": 3600.0, "site_digest": "a"}
    said["site_digest"] = "b"
    assert wire.wait(2).seen["site_digest"] == "b"
    heartbeat.close()
