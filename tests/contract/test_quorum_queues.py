"""What the hub relies on in RabbitMQ's quorum queues, and how old queues become such ones."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import pytest

from chamberlain_hub.dispatch.queues import Queues
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery, Outgoing, QueueDiffersError, QueueKind
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, new_id
from chamberlain_wire.logs import Secret
from devtools.processes import wait_until
from devtools.rabbit import PrivateRabbit

pytestmark = [pytest.mark.needs_rabbit]
WAIT_S = 20.0
MORE_THAN_RABBITMQ_ALLOWS_BY_ITSELF = 25
MORE_THAN_IT_GIVES_AT_ONCE = 2_001

Connect = Callable[[], RabbitBroker]


@pytest.fixture
def connect(rabbit: PrivateRabbit) -> Iterator[Connect]:
    made: list[RabbitBroker] = []

    def one() -> RabbitBroker:
        broker = RabbitBroker(Secret(rabbit.amqp_url), name="quorum")
        made.append(broker)
        broker.open()
        return broker

    yield one
    for broker in made:
        broker.close()


@pytest.fixture
def hub(connect: Connect) -> RabbitBroker:
    return connect()


@pytest.fixture
def name(hub: RabbitBroker) -> Iterator[str]:
    one = f"quorum-{new_id()}"
    hub.declare_queue(one, kind=QueueKind.QUORUM_ONE_READER)
    yield one
    hub.delete_queue(one)


def kind_of(rabbit: PrivateRabbit, name: str) -> str:
    found = rabbit.api("GET", f"/api/queues/%2F/{name}")
    assert isinstance(found, dict)
    return str(found["type"])


def test_a_second_reader_gets_nothing_until_the_first_is_gone(
    hub: RabbitBroker, connect: Connect, name: str
) -> None:
    first, second = connect(), connect()
    came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    later: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    first.consume(name, came.put, exclusive=True)
    hub.publish(Outgoing("", name, b"one")).result(WAIT_S)
    assert came.get(timeout=WAIT_S).body == b"one"
    second.consume(name, later.put, exclusive=True)
    for _ in range(10):
        hub.publish(Outgoing("", name, b"more")).result(WAIT_S)
        assert came.get(timeout=WAIT_S).body == b"more"
    assert later.empty()
    first.close()
    assert sorted(later.get(timeout=WAIT_S).body for _ in range(11)) == [b"more"] * 10 + [b"one"]


def test_what_comes_back_many_times_is_not_thrown_away(
    hub: RabbitBroker, connect: Connect, name: str
) -> None:
    hub.publish(Outgoing("", name, b"a long task")).result(WAIT_S)
    for _ in range(MORE_THAN_RABBITMQ_ALLOWS_BY_ITSELF):
        reader = connect()
        came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        reader.consume(name, came.put)
        assert came.get(timeout=WAIT_S).body == b"a long task"
        reader.close()


def test_a_reader_can_ask_for_more_than_is_given_at_once(hub: RabbitBroker, name: str) -> None:
    sent = [hub.publish(Outgoing("", name, b"")) for _ in range(MORE_THAN_IT_GIVES_AT_ONCE)]
    for one in sent:
        one.result(WAIT_S)
    came: list[Delivery] = []
    hub.consume(name, came.append, prefetch=65_535)
    assert wait_until(lambda: len(came) == MORE_THAN_IT_GIVES_AT_ONCE, WAIT_S)


def test_a_command_that_is_too_old_is_gone(hub: RabbitBroker, name: str) -> None:
    hub.publish(Outgoing("", name, b"old", expiration_ms=0)).result(WAIT_S)
    hub.publish(Outgoing("", name, b"new", expiration_ms=60_000)).result(WAIT_S)
    came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    hub.consume(name, came.put)
    assert came.get(timeout=WAIT_S).body == b"new"


def test_one_of_another_kind_is_told(hub: RabbitBroker, name: str) -> None:
    with pytest.raises(QueueDiffersError):
        hub.declare_queue(name)
    hub.publish(Outgoing("", name, b"kept")).result(WAIT_S)
    hub.declare_queue(name, kind=QueueKind.QUORUM_ONE_READER)


def test_old_queues_become_copied_ones_when_nothing_is_lost_by_that(
    hub: RabbitBroker, connect: Connect, rabbit: PrivateRabbit
) -> None:
    old = Queues(hub, result_queue_expires_s=60.0)
    endpoint, busy = EndpointId(new_id()), EndpointId(new_id())
    owner, group = IdentityId(new_id()), TaskGroupId(new_id())
    tasks = topology.task_queue(busy)
    others = (
        topology.command_queue(endpoint),
        topology.group_queue(owner, group),
        topology.RESULTS_QUEUE,
        topology.HEARTBEATS_QUEUE,
    )
    declare_all(old, endpoint, busy, (owner, group))
    agent = connect()
    came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    agent.consume(tasks, came.put, exclusive=True)
    hub.publish(Outgoing(topology.TASKS, tasks, b"runs")).result(WAIT_S)
    running = came.get(timeout=WAIT_S)

    new = Queues(hub, result_queue_expires_s=60.0, quorum=True)
    declare_all(new, endpoint, busy, (owner, group))
    assert [kind_of(rabbit, one) for one in others] == ["quorum"] * len(others)
    assert kind_of(rabbit, tasks) == "classic"

    agent.ack(running)
    agent.close()
    new.forget()
    new.user_endpoint(busy)
    assert kind_of(rabbit, tasks) == "quorum"
    for one in (*others, tasks):
        hub.delete_queue(one)


def declare_all(
    queues: Queues,
    endpoint: EndpointId,
    user_endpoint: EndpointId,
    group: tuple[IdentityId, TaskGroupId],
) -> None:
    queues.shared()
    queues.endpoint(endpoint)
    queues.group(*group)
    queues.user_endpoint(user_endpoint)
