"""The promises of `broker.port.Broker`, kept by the fake and by the real thing."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.broker.port import (
    AccessRefusedError,
    Delivery,
    Link,
    LinkLostError,
    Outgoing,
    TopologyBroker,
    UnroutableError,
)
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import new_id
from chamberlain_wire.logs import Secret
from devtools.rabbit import PrivateRabbit

WAIT_S = 10.0


class DroppableBroker(TopologyBroker, Protocol):
    def drop_connection(self) -> None: ...


Make = Callable[..., DroppableBroker]


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.needs_rabbit)])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[DroppableBroker] = []
    server = MemoryServer()

    def build(**options: object) -> DroppableBroker:
        broker: DroppableBroker
        if request.param == "memory":
            broker = MemoryBroker(server, **options)  # type: ignore[arg-type]
        else:
            node: PrivateRabbit = request.getfixturevalue("rabbit")
            broker = RabbitBroker(Secret(node.amqp_url), name="contract", **options)  # type: ignore[arg-type]
        made.append(broker)
        return broker

    yield build
    for broker in made:
        broker.close()


@pytest.fixture
def broker(make: Make) -> DroppableBroker:
    one = make()
    one.open()
    return one


@pytest.fixture
def name(broker: DroppableBroker) -> Iterator[str]:
    queue_name = f"q-{new_id()}"
    broker.declare_queue(queue_name)
    yield queue_name
    broker.delete_queue(queue_name)


def send(broker: TopologyBroker, name: str, body: bytes) -> None:
    broker.publish(Outgoing("", name, body)).result(WAIT_S)


def inbox(broker: TopologyBroker, name: str, **options: int) -> queue.SimpleQueue[Delivery]:
    came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    broker.consume(name, came.put, **options)
    return came


def test_what_is_published_is_delivered_with_all_it_carries(
    broker: DroppableBroker, name: str
) -> None:
    came = inbox(broker, name)
    sent = Outgoing("", name, b"body", headers={"task_uuid": "x"}, timestamp=1_700_000_000)
    broker.publish(sent).result(WAIT_S)
    got = came.get(timeout=WAIT_S)
    assert (got.body, dict(got.headers), got.timestamp) == (
        b"body",
        {"task_uuid": "x"},
        1_700_000_000,
    )
    assert got.content_type == "application/json"
    assert got.routing_key == name
    assert not got.redelivered


def test_order_is_kept(broker: DroppableBroker, name: str) -> None:
    bodies = [str(number).encode() for number in range(500)]
    futures = [broker.publish(Outgoing("", name, body)) for body in bodies]
    for future in futures:
        future.result(WAIT_S)
    came = inbox(broker, name)
    assert [came.get(timeout=WAIT_S).body for _ in bodies] == bodies


def test_what_no_queue_wants_comes_back_as_an_error(broker: DroppableBroker) -> None:
    future = broker.publish(Outgoing("", f"nowhere-{new_id()}", b"x"))
    with pytest.raises(UnroutableError):
        future.result(WAIT_S)


def test_one_unroutable_message_does_not_spoil_its_neighbours(
    broker: DroppableBroker, name: str
) -> None:
    good = broker.publish(Outgoing("", name, b"1"))
    bad = broker.publish(Outgoing("", f"nowhere-{new_id()}", b"2"))
    good_too = broker.publish(Outgoing("", name, b"3"))
    assert good.result(WAIT_S) is None
    assert good_too.result(WAIT_S) is None
    assert isinstance(bad.exception(WAIT_S), UnroutableError)


def test_a_topic_exchange_routes_by_key(broker: DroppableBroker) -> None:
    suffix = new_id()
    exchange, bound = f"x-{suffix}", f"bound-{suffix}"
    broker.declare_exchange(exchange)
    broker.declare_queue(bound, bind_to=(exchange, "*.results"))
    came = inbox(broker, bound)
    broker.publish(Outgoing(exchange, "abc.results", b"yes")).result(WAIT_S)
    assert isinstance(
        broker.publish(Outgoing(exchange, "abc.other", b"no")).exception(WAIT_S), UnroutableError
    )
    assert came.get(timeout=WAIT_S).body == b"yes"
    broker.delete_queue(bound)


def test_what_was_not_acked_comes_back_first(broker: DroppableBroker, name: str) -> None:
    send(broker, name, b"one")
    send(broker, name, b"two")
    came = inbox(broker, name, prefetch=1)
    assert came.get(timeout=WAIT_S).body == b"one"
    broker.drop_connection()
    again = came.get(timeout=WAIT_S)
    assert (again.body, again.redelivered) == (b"one", True)
    broker.ack(again)
    assert came.get(timeout=WAIT_S).body == b"two"


def test_what_was_acked_never_comes_back(broker: DroppableBroker, name: str) -> None:
    came = inbox(broker, name, prefetch=1)
    send(broker, name, b"one")
    broker.ack(came.get(timeout=WAIT_S))
    send(broker, name, b"two")
    two = came.get(timeout=WAIT_S)
    assert two.body == b"two"
    broker.drop_connection()
    assert came.get(timeout=WAIT_S).body == b"two"


def test_an_ack_from_before_the_loss_does_nothing(broker: DroppableBroker, name: str) -> None:
    came = inbox(broker, name, prefetch=1)
    send(broker, name, b"one")
    stale = came.get(timeout=WAIT_S)
    broker.drop_connection()
    fresh = came.get(timeout=WAIT_S)
    broker.ack(stale)
    broker.reject(fresh, requeue=True)
    assert came.get(timeout=WAIT_S).body == b"one"


def test_prefetch_bounds_what_is_open(broker: DroppableBroker, name: str) -> None:
    for number in range(5):
        send(broker, name, str(number).encode())
    came = inbox(broker, name, prefetch=2)
    first, second = came.get(timeout=WAIT_S), came.get(timeout=WAIT_S)
    with pytest.raises(queue.Empty):
        came.get(timeout=0.3)
    broker.ack(first)
    assert came.get(timeout=WAIT_S).body == b"2"
    broker.ack(second)


def test_rejected_without_requeue_is_gone(broker: DroppableBroker, name: str) -> None:
    came = inbox(broker, name, prefetch=1)
    send(broker, name, b"bad")
    send(broker, name, b"good")
    broker.reject(came.get(timeout=WAIT_S), requeue=False)
    assert came.get(timeout=WAIT_S).body == b"good"


def test_the_link_is_told_up_down_up(make: Make) -> None:
    seen: queue.SimpleQueue[Link] = queue.SimpleQueue()
    broker = make(on_link=seen.put)
    broker.open()
    assert seen.get(timeout=WAIT_S) is Link.UP
    broker.drop_connection()
    assert seen.get(timeout=WAIT_S) is Link.DOWN
    assert seen.get(timeout=WAIT_S) is Link.UP


def test_publishing_after_close_fails_at_once(make: Make) -> None:
    broker = make()
    broker.open()
    broker.close()
    broker.close()
    with pytest.raises(LinkLostError):
        broker.publish(Outgoing("", "any", b"x")).result(WAIT_S)


def test_a_cancelled_consumer_gets_no_more_and_may_still_ack(
    broker: DroppableBroker, name: str
) -> None:
    came = inbox(broker, name)
    send(broker, name, b"one")
    one = came.get(timeout=WAIT_S)
    broker.cancel(name)
    # A question to the broker passes behind the cancel, so the cancel is done when it ends.
    broker.declare_queue(name)
    send(broker, name, b"two")
    with pytest.raises(queue.Empty):
        came.get(timeout=0.3)
    broker.ack(one)


@pytest.mark.needs_rabbit
def test_a_wrong_password_is_refused_for_good(rabbit: PrivateRabbit) -> None:
    seen: list[Link] = []
    url = rabbit.amqp_url.replace(rabbit.password, "wrong")
    broker = RabbitBroker(Secret(url), name="contract", on_link=seen.append)
    with pytest.raises(AccessRefusedError):
        broker.open()
    broker.close()
    assert seen == [Link.REFUSED]


@pytest.mark.needs_rabbit
def test_nobody_listening_is_a_lost_link_in_bounded_time() -> None:
    broker = RabbitBroker(Secret("amqp://a:b@127.0.0.1:1/%2F"), name="contract")
    with pytest.raises(LinkLostError):
        broker.open(timeout_s=0.5)
    broker.close()


@pytest.mark.needs_rabbit
def test_a_deleted_user_is_refused_and_does_not_reconnect(rabbit: PrivateRabbit) -> None:
    seen: queue.SimpleQueue[Link] = queue.SimpleQueue()
    rabbit.api("PUT", "/api/users/short", {"password": "pw", "tags": ""})
    rabbit.api(
        "PUT", "/api/permissions/%2F/short", {"configure": "^$", "write": "^$", "read": ".*"}
    )
    url = f"amqp://short:pw@127.0.0.1:{rabbit.ports.amqp}/%2F"
    broker = RabbitBroker(Secret(url), name="contract", on_link=seen.put)
    broker.open()
    assert seen.get(timeout=WAIT_S) is Link.UP
    rabbit.api("DELETE", "/api/users/short")
    assert seen.get(timeout=WAIT_S) is Link.DOWN
    assert seen.get(timeout=WAIT_S) is Link.REFUSED
    broker.close()


@pytest.mark.needs_rabbit
def test_a_queue_that_appears_later_is_consumed(make: Make, broker: DroppableBroker) -> None:
    late = f"late-{new_id()}"
    came = inbox(broker, late)
    broker.declare_queue(late)
    send(broker, late, b"x")
    assert came.get(timeout=WAIT_S).body == b"x"
    broker.delete_queue(late)


def test_one_that_is_closed_before_it_was_open_ends_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        broker = RabbitBroker(Secret(f"amqp://a:b@127.0.0.1:{port}/%2F"), name="contract")
        with pytest.raises(LinkLostError):
            broker.open(timeout_s=0.3)
        # An error in its thread would fail this test: warnings are errors.
        broker.close()
