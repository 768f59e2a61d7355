"""What each broker user may do, tried with real connections."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import WAIT_S, Caller, Manager, eventually, served

from chamberlain_wire import topology
from chamberlain_wire.broker.port import AccessRefusedError, BrokerError, Link, Outgoing
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, new_id
from chamberlain_wire.logs import Secret

pytestmark = pytest.mark.needs_rabbit


@pytest.fixture
def world(rabbit_world: World) -> World:
    return rabbit_world


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


class Intruder:
    """A connection with somebody's credential, which tries what it may not."""

    def __init__(self, url: str) -> None:
        self._links: queue.SimpleQueue[Link] = queue.SimpleQueue()
        self.broker = RabbitBroker(Secret(url), name="intruder", on_link=self._links.put)
        self.broker.open()
        assert self._links.get(timeout=WAIT_S) is Link.UP

    def is_refused_to_read(self, name: str) -> bool:
        """A refused consumer ends the whole connection, for good."""
        self.broker.consume(name, lambda _: None)
        return self._ends_with(Link.REFUSED)

    def is_refused_to_publish(self, exchange: str, key: str) -> bool:
        try:
            self.broker.publish(Outgoing(exchange, key, b"forged")).result(WAIT_S)
        except BrokerError:
            return True
        return False

    def is_cut_off(self) -> bool:
        return self._ends_with(Link.REFUSED)

    def _ends_with(self, last: Link) -> bool:
        while True:
            try:
                if self._links.get(timeout=WAIT_S) is last:
                    return True
            except queue.Empty:
                return False


Intrude = Callable[[str], Intruder]


@pytest.fixture
def intrude() -> Iterator[Intrude]:
    made: list[Intruder] = []

    def make(url: str) -> Intruder:
        made.append(Intruder(url))
        return made[-1]

    yield make
    for one in made:
        one.broker.close()


def test_a_session_reads_nobody_elses_results(
    world: World, alice: Caller, manager: Manager, intrude: Intrude
) -> None:
    child, _ = served(alice, manager)
    group = alice.get("/v3/tasks").ok()["tasks"][0]["task_group_id"]
    theirs = topology.group_queue(IdentityId(alice.identity), TaskGroupId(group))
    for name in (theirs, topology.RESULTS_QUEUE, topology.task_queue(child.id)):
        bob = world.sdk(world.caller("bob@example.edu"))
        assert intrude(bob.url).is_refused_to_read(name)


def test_a_session_publishes_nothing(
    world: World, alice: Caller, manager: Manager, intrude: Intrude
) -> None:
    child, _ = served(alice, manager)
    session = world.sdk(alice)
    for exchange, key in (
        (topology.RESULTS, topology.results_key(child.id)),
        (topology.TASKS, topology.task_queue(child.id)),
        (topology.COMMANDS, topology.command_queue(EndpointId(manager.endpoint))),
        ("", topology.task_queue(child.id)),
    ):
        assert intrude(session.url).is_refused_to_publish(exchange, key)


def test_a_user_endpoint_speaks_for_itself_alone(
    world: World, alice: Caller, manager: Manager, intrude: Intrude
) -> None:
    mine, _ = served(alice, manager)
    theirs, _ = served(world.caller("bob@example.edu"), manager)
    for exchange, key in (
        (topology.RESULTS, topology.results_key(theirs.id)),
        (topology.HEARTBEATS, topology.heartbeats_key(theirs.id)),
        (topology.HEARTBEATS, topology.heartbeats_key(EndpointId(manager.endpoint))),
        (topology.TASKS, topology.task_queue(theirs.id)),
        ("", topology.task_queue(theirs.id)),
        ("", topology.RESULTS_QUEUE),
    ):
        assert intrude(mine.url).is_refused_to_publish(exchange, key)
    commands = topology.command_queue(EndpointId(manager.endpoint))
    for name in (topology.task_queue(theirs.id), commands, topology.RESULTS_QUEUE):
        assert intrude(mine.url).is_refused_to_read(name)


def test_a_manager_reads_no_tasks_and_sends_no_results(
    alice: Caller, manager: Manager, intrude: Intrude
) -> None:
    child, _ = served(alice, manager)
    assert intrude(manager.url).is_refused_to_read(topology.task_queue(child.id))
    assert intrude(manager.url).is_refused_to_publish(
        topology.RESULTS, topology.results_key(child.id)
    )
    assert intrude(manager.url).is_refused_to_publish(
        topology.COMMANDS, topology.command_queue(EndpointId(manager.endpoint))
    )


def test_a_session_that_ended_is_cut_off_and_refused(
    world: World, alice: Caller, intrude: Intrude
) -> None:
    session = world.sdk(alice)
    intruder = intrude(session.url)
    bob = world.caller("bob@example.edu")
    assert bob.delete(f"/v3/sessions/{session.session_id}").status == 404
    alice.delete(f"/v3/sessions/{session.session_id}").ok()
    assert intruder.is_cut_off()
    with pytest.raises(AccessRefusedError):
        RabbitBroker(Secret(session.url), name="late").open()
    assert alice.delete(f"/v3/sessions/{session.session_id}").status == 404


def test_a_user_endpoint_that_ended_is_refused(
    alice: Caller, manager: Manager, intrude: Intrude
) -> None:
    child, _ = served(alice, manager)
    intruder = intrude(child.url)
    manager.say("ended", manager.last, clean=True)
    assert intruder.is_cut_off()


def test_a_refused_start_leaves_no_credential(alice: Caller, manager: Manager) -> None:
    function = alice.function()
    asked = threading.Thread(target=alice.submit, args=(manager.endpoint, function))
    asked.start()
    command = manager.next_command()
    manager.say("refused", command, code="ACCOUNT_REFUSED", message="no")
    asked.join()
    url = command.kwargs.amqp_creds.task_queue_info.connection_url

    def refused() -> bool:
        broker = RabbitBroker(Secret(url), name="late")
        try:
            broker.open()
        except AccessRefusedError:
            return True
        finally:
            broker.close()
        return False

    eventually(refused)


def test_registering_again_ends_the_credential_before(world: World, intrude: Intrude) -> None:
    admin = world.caller("admin@example.edu")
    manager = world.manager(admin)
    intruder = intrude(manager.url)
    admin.put(f"/v3/endpoints/{manager.endpoint}", {"endpoint_name": "site"}).ok()
    assert intruder.is_cut_off()


def test_a_locked_endpoint_is_cut_off(world: World, intrude: Intrude) -> None:
    admin = world.caller("admin@example.edu")
    manager = world.manager(admin)
    intruder = intrude(manager.url)
    where = f"/v3/endpoints/{manager.endpoint}"
    admin.post(f"{where}/lock").ok()
    assert intruder.is_cut_off()
    refused = admin.put(where, {"endpoint_name": "site"})
    assert (refused.status, refused.document["code"]) == (423, "ENDPOINT_LOCKED")
    again = {"endpoint_uuid": manager.endpoint, "endpoint_name": "site"}
    assert admin.post("/v3/endpoints", again).status == 423
    world.store.lock_endpoint(manager.endpoint, time.time())
    admin.put(where, {"endpoint_name": "site"}).ok()


def test_no_two_sessions_share_a_credential(alice: Caller) -> None:
    urls = {alice.get("/v2/get_amqp_result_connection_url").ok()["connection_url"] for _ in "ab"}
    assert len(urls) == 2


def test_a_group_that_nobody_has_is_nobodys_queue(
    world: World, alice: Caller, intrude: Intrude
) -> None:
    session = world.sdk(alice)
    bob = world.caller("bob@example.edu")
    foreign = topology.result_prefix(IdentityId(bob.identity)) + new_id()
    assert intrude(session.url).is_refused_to_read(foreign)
