"""Queues are declared once, and again when the broker may have forgotten them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chamberlain_hub.dispatch.queues import Queues
from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.broker.port import QueueKind
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.topology import task_queue

UEP = EndpointId(new_id())


class Counting(MemoryBroker):
    """A broker that remembers what it was asked."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.declared: list[str] = []

    def declare_queue(
        self,
        name: str,
        *,
        bind_to: tuple[str, str] | None = None,
        expires_ms: int | None = None,
        kind: QueueKind = QueueKind.CLASSIC,
    ) -> None:
        self.declared.append(name)
        super().declare_queue(name, bind_to=bind_to, expires_ms=expires_ms, kind=kind)


@pytest.fixture
def broker() -> Iterator[Counting]:
    one = Counting(MemoryServer())
    one.open()
    yield one
    one.close()


def test_a_queue_is_declared_once(broker: Counting) -> None:
    queues = Queues(broker, result_queue_expires_s=3600)
    for _ in range(3):
        queues.user_endpoint(UEP)
    assert broker.declared == [task_queue(UEP)]


def test_what_was_forgotten_is_declared_again(broker: Counting) -> None:
    queues = Queues(broker, result_queue_expires_s=3600)
    queues.user_endpoint(UEP)
    queues.forget()
    queues.user_endpoint(UEP)
    assert broker.declared == [task_queue(UEP)] * 2


def test_a_belief_ends_before_the_queue_does(broker: Counting) -> None:
    queues = Queues(broker, result_queue_expires_s=0)
    for _ in range(2):
        queues.user_endpoint(UEP)
    assert len(broker.declared) == 2


def test_an_emptied_queue_is_there_again(broker: Counting) -> None:
    queues = Queues(broker, result_queue_expires_s=3600)
    queues.user_endpoint(UEP)
    queues.empty_user_endpoint(UEP)
    assert broker.declared == [task_queue(UEP)] * 2
