"""A wish is recorded before its command is acknowledged; all else is dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.manager_builders import Signer, delivery

from chamberlain_endpoint.manager.inbox import Inbox
from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.codec import encode_command
from chamberlain_wire.ids import EndpointId, new_id


class Acknowledged:
    """A broker that notes what was recorded when it heard of a delivery."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.acked: list[int] = []
        self.dropped = 0

    def ack(self, delivery: Delivery) -> None:
        del delivery
        self.acked.append(len(self.records.all()))

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        del delivery
        assert not requeue
        self.dropped += 1


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records.db")
    records.open()
    yield records
    records.close()


def make(records: Records, hub: Signer, wished: list[EndpointId]) -> Inbox:
    def fail(error: BaseException) -> None:
        raise error

    inbox = Inbox(records, on_wish=wished.append, on_fatal=fail)
    inbox.serve_as(hub.endpoint, (hub.public,))
    return inbox


def test_the_wish_is_there_when_the_command_is_acknowledged(records: Records) -> None:
    hub, broker, wished = Signer(EndpointId(new_id())), Acknowledged(records), []
    inbox = make(records, hub, wished)
    user_endpoint, now = new_id(), time.time()
    inbox.take(broker, delivery(hub.command(user_endpoint, now=now), now=now))  # type: ignore[arg-type]
    assert broker.acked == [1]
    assert wished == [user_endpoint]


def test_a_repeat_is_acknowledged_and_starts_nothing(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    hub, broker, wished = Signer(EndpointId(new_id())), Acknowledged(records), []
    now = time.time()
    taken = delivery(encode_command(hub.command(new_id(), now=now)), now=now)
    make(records, hub, wished).take(broker, taken)  # type: ignore[arg-type]
    make(records, hub, wished).take(broker, taken)  # type: ignore[arg-type]
    assert broker.acked == [1, 1]
    assert len(wished) == 1
    assert caplog.records[-1].__dict__["event"] == "command.repeated"


def test_a_refused_command_is_dropped_with_its_reason(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    hub, broker, wished = Signer(EndpointId(new_id())), Acknowledged(records), []
    make(records, hub, wished).take(broker, delivery(b"{", now=time.time()))  # type: ignore[arg-type]
    assert (broker.acked, broker.dropped, wished) == ([], 1, [])
    fields = caplog.records[-1].__dict__
    assert fields["event"] == "command.refused"
    assert "wrong shape" in fields["reason"]
