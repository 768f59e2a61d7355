"""Cancelling at the hub: who may, what is final at once, what is told to whom."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import (
    WAIT_S,
    Caller,
    Manager,
    UserEndpoint,
    eventually,
    meanwhile,
    only_task,
    served,
    silent,
)

from chamberlain_wire import codec
from chamberlain_wire.broker.port import Outgoing
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import Result, StatusReport


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    """One whose user endpoints read a control queue."""
    return listening(world)


def listening(world: World) -> Manager:
    one = world.manager(world.caller("admin@example.edu"))
    one.report(heartbeat_period=30, control="1")

    def known() -> bool:
        endpoint = world.store.endpoint(one.endpoint)
        return endpoint is not None and "control" in endpoint.last_state

    eventually(known)
    return one


def cancel(caller: Caller, *task_ids: str) -> Any:
    return caller.post("/v3/tasks/cancel", {"task_ids": list(task_ids)}).ok()["tasks"]


def says_control(world: World, child: UserEndpoint) -> None:
    child.beat(control="1")

    def known() -> bool:
        one = world.store.user_endpoint(child.id)
        return one is not None and "control" in one.last_state

    eventually(known)


def test_a_delivered_task_is_final_at_once_and_its_user_endpoint_is_told(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    says_control(world, child)
    answer = alice.submit(manager.endpoint, function).ok()
    (task_id,) = answer["tasks"][function]
    results = world.sdk(alice).results(answer["task_group_id"])
    child.next_task()
    assert cancel(alice, task_id) == {task_id: "asked"}
    document = alice.task(task_id)
    assert document["status"] == "failed"
    assert "cancelled" in document["exception"]
    assert document["error_details"]["code"] == "TASK_CANCELLED"
    assert document["cancellation"]["outcome"] is None
    assert alice.get("/v3/tasks?state=cancelled").ok()["tasks"][0]["task_id"] == task_id
    told = codec.decode(results.get(timeout=WAIT_S).body, Result)
    assert (told.task_id, told.state) == (task_id, "cancelled")
    assert child.next_order().cancel == [task_id]
    child.answer_cancel(task_id, "killed")
    eventually(lambda: alice.task(task_id)["cancellation"]["outcome"] == "killed")
    assert alice.task(task_id)["cancellation"]["confirmed_at"] is not None
    # A repeat is answered alike, and told to nobody.
    assert cancel(alice, task_id) == {task_id: "cancelled"}
    assert silent(child.orders)


def test_a_late_result_is_dropped_and_counted(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    # This one has never said that it reads orders, as the public agent's have not.
    assert cancel(alice, task_id) == {task_id: "cancelled"}
    assert silent(child.orders)
    child.finish(task_id, "too late")
    eventually(lambda: alice.task(task_id)["cancellation"]["outcome"] == "late")
    assert alice.task(task_id)["status"] == "failed"
    assert "result" not in alice.task(task_id)


def test_an_agent_that_does_not_know_control_gets_no_queue(world: World, alice: Caller) -> None:
    manager = world.manager(world.caller("admin@example.edu"))
    child, _ = served(alice, manager)
    assert child.orders is None


def test_what_has_ended_stays_as_it_ended(world: World, alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    says_control(world, child)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.finish(task_id, "done")
    alice.ended(task_id)
    assert cancel(alice, task_id) == {task_id: "ended"}
    assert alice.task(task_id)["result"] == "done"
    assert silent(child.orders)


def test_somebody_elses_task_is_as_unknown_as_none(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    nowhere = new_id()
    for other in (world.caller("bob@example.edu"), world.caller("admin@example.edu")):
        assert cancel(other, task_id, nowhere) == {task_id: "unknown", nowhere: "unknown"}
    assert world.nobody().post("/v3/tasks/cancel", {"task_ids": [task_id]}).status == 401
    child.finish(task_id, "untouched")
    assert alice.ended(task_id)["result"] == "untouched"


@pytest.mark.parametrize("body", [{}, {"task_ids": "all"}, {"task_ids": ["no id"]}])
def test_what_is_no_list_of_ids_is_refused(memory_world: World, body: Any) -> None:
    alice = memory_world.caller("alice@example.edu")
    assert alice.post("/v3/tasks/cancel", body).status in (400, 422)


def test_whoever_comes_after_the_cancel_is_told_before_it_starts_anything(
    world: World, alice: Caller, manager: Manager
) -> None:
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function, "a", "b")) as asked:
        command = manager.next_command()
        manager.say("admitted", command)
        answer = asked.result(WAIT_S)
        doomed, kept = answer.ok()["tasks"][function]
        assert cancel(alice, doomed) == {doomed: "cancelled"}
        child = UserEndpoint(command, manager.connect)
        manager.children.append(child)
    ask_roll(child, "my word")
    order = child.next_order()
    assert (order.cancel, order.roll) == ([doomed], "my word")
    child.answer_cancel(doomed, "before_start")
    eventually(lambda: alice.task(doomed)["cancellation"]["outcome"] == "before_start")
    ask_roll(child, "another")
    order = child.next_order()
    assert (order.cancel, order.roll) == ([], "another")
    child.finish(kept, "ran")
    assert alice.ended(kept)["result"] == "ran"


def ask_roll(child: UserEndpoint, word: str) -> None:
    report = StatusReport(
        endpoint_id=child.id, global_state={"heartbeat_period": 30, "control": "1"}, roll=word
    )
    child.publish(child._heartbeats, codec.encode(report))


def test_a_restart_of_the_hub_forgets_no_cancel(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    says_control(world, child)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    # As a hub leaves it that dies between storing the cancel and telling anybody.
    world.store.cancel([task_id], {alice.identity}, cancelled_body, 1_000_000.0)
    group = alice.task(task_id)["task_group_id"]
    world.stop()
    world.start()
    alice = world.caller("alice@example.edu")
    assert child.next_order().cancel == [task_id]
    results = world.sdk(alice).results(group)
    seen = set()
    while task_id not in seen:
        result = codec.decode(results.get(timeout=WAIT_S).body, Result)
        seen.add(result.task_id)
    assert result.state == "cancelled"


def cancelled_body(task_id: str) -> bytes:
    from chamberlain_wire.messages import ErrorDetails

    error = ErrorDetails(code="TASK_CANCELLED", user_message="cancelled")
    return codec.encode(Result(task_id=task_id, data="cancelled", error_details=error))


@pytest.mark.needs_rabbit
def test_a_control_queue_that_the_broker_forgot_is_made_again(rabbit_world: World) -> None:
    alice = rabbit_world.caller("alice@example.edu")
    manager = listening(rabbit_world)
    child, function = served(alice, manager)
    says_control(rabbit_world, child)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    rabbit_world.dispatcher._broker.delete_queue(f"{child.id}.control")
    assert cancel(alice, task_id) == {task_id: "asked"}
    assert child.next_order().cancel == [task_id]


@pytest.mark.needs_rabbit
def test_a_user_endpoint_reads_its_own_orders_and_writes_none(rabbit_world: World) -> None:
    alice, bob = (rabbit_world.caller(f"{name}@example.edu") for name in ("alice", "bob"))
    manager = listening(rabbit_world)
    hers, _ = served(alice, manager)
    his, _ = served(bob, manager)
    stolen: queue.SimpleQueue[object] = queue.SimpleQueue()
    hers.broker.consume(f"{his.id}.control", stolen.put)
    # Refused for good, and with it the whole credential's connection: nothing was read.
    forged = Outgoing("", f"{his.id}.control", b"\x01{}")
    with pytest.raises(Exception):  # noqa: B017 - whichever way the broker says no
        hers.broker.publish(forged).result(WAIT_S)
    assert silent(stolen)
    assert silent(his.orders)


def test_tasks_alone_between_two_heartbeats_move_states_and_wipe_nothing(
    world: World, alice: Caller, manager: Manager
) -> None:
    from chamberlain_wire.messages import TaskTransition

    child, function = served(alice, manager)
    says_control(world, child)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    seen = TaskTransition(timestamp=1, state="running", actor="interchange")
    report = StatusReport(endpoint_id=child.id, task_statuses={task_id: [seen]})
    child.publish(child._heartbeats, codec.encode(report))
    eventually(lambda: alice.task(task_id)["status"] == "running")
    before = world.store.user_endpoint(child.id)
    assert before is not None
    assert before.last_state["control"] == "1"
