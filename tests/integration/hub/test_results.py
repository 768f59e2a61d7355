"""What user endpoints and managers send: told to its owner, or dropped."""

from __future__ import annotations

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import (
    WAIT_S,
    Caller,
    Manager,
    eventually,
    only_task,
    served,
)

from chamberlain_wire import topology
from chamberlain_wire.broker.port import Outgoing
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import EndpointEvent, Result, StatusReport, TaskTransition

UNKNOWN = Result(task_id=new_id(), data="")


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


def test_a_result_from_another_sender_changes_nothing(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    bob = world.caller("bob@example.edu")
    intruder, _ = served(bob, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    intruder.finish(task_id, "forged")
    child.finish(task_id, "true")
    assert alice.ended(task_id)["result"] == "true"


def test_rubbish_among_the_results_is_dropped(alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    key = topology.results_key(child.id)
    rubbish = (b"", b"\x01{}", b"\x01" + b"[" * 100_000, encode(StatusReport(endpoint_id="x")))
    for body in (*rubbish, encode(Result(task_id="a\0b", data="")), encode(UNKNOWN)):
        child.broker.publish(Outgoing(topology.RESULTS, key, body)).result(WAIT_S)
    child.finish(task_id, "true")
    assert alice.ended(task_id)["result"] == "true"


def test_rubbish_among_the_heartbeats_is_dropped(alice: Caller, manager: Manager) -> None:
    child, _ = served(alice, manager)
    for user_endpoint in ("a\0b", new_id(), child.id):
        event = EndpointEvent(
            kind="failed", user_endpoint=user_endpoint, code="a\0b", message="oh\0 no"
        )
        manager.report(event, heartbeat_period="often")
    path = f"/v2/endpoints/{child.id}/status"
    eventually(lambda: alice.get(path).ok()["state"] == "gone")


def test_a_manager_speaks_of_its_own_user_endpoints_only(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, _ = served(alice, manager)
    other = world.manager(world.caller("other@example.edu"))
    other.say("ended", manager.last, clean=True)
    other.report(heartbeat_period=0)
    eventually(lambda: not world.online(other))
    assert alice.get(f"/v2/endpoints/{child.id}/status").ok()["state"] == "serving"


def test_a_result_that_comes_twice_is_forwarded_as_it_was_first(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    answer = alice.submit(manager.endpoint, function).ok()
    (task_id,) = answer["tasks"][function]
    first = child.finish(task_id, "first")
    child.finish(task_id, "second")
    results = world.sdk(alice).results(answer["task_group_id"])
    assert [results.get(timeout=WAIT_S).body for _ in range(2)] == [first, first]
    assert alice.ended(task_id)["result"] == "first"


def test_the_states_that_a_user_endpoint_reports_are_shown(alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    seen = TaskTransition(timestamp=1, state="running", actor="manager")
    report = StatusReport(
        endpoint_id=child.id,
        global_state={"heartbeat_period": 30},
        task_statuses={task_id: [seen], new_id(): [replace_state(seen, "no such state")]},
    )
    child.publish(child._heartbeats, encode(report))
    eventually(lambda: alice.task(task_id)["status"] == "running")


def replace_state(seen: TaskTransition, state: str) -> TaskTransition:
    return TaskTransition(timestamp=seen.timestamp, state=state, actor=seen.actor)
