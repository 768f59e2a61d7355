"""Nothing grows for ever: what nobody ran is given up, what is old is removed, bit by bit."""

from __future__ import annotations

import time

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Caller, Manager, eventually, only_task, served

from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.dispatch.retention import Retention, Terms
from chamberlain_hub.domain.task import NewTask, ReceivedResult
from chamberlain_hub.store.database import CHUNK
from chamberlain_wire import topology
from chamberlain_wire.ids import EndpointId, FunctionId, IdentityId, TaskGroupId, TaskId, new_id
from chamberlain_wire.messages import Result

ADMIN, ALICE = "admin@example.edu", "alice@example.edu"
DAY_S = 86400.0


@pytest.fixture
def alice(memory_world: World) -> Caller:
    return memory_world.caller(ALICE)


@pytest.fixture
def manager(memory_world: World) -> Manager:
    return memory_world.manager(memory_world.caller(ADMIN))


def retention(world: World, days_later: float, terms: Terms | None = None) -> Retention:
    """The hub's own parts, so many days from now."""
    dispatcher = world.dispatcher
    ports = Ports(
        world.store,
        dispatcher._broker,
        dispatcher.queues,
        lambda: time.time() + days_later * DAY_S,
    )
    return Retention(ports, Failures(ports, dispatcher.outbox), terms or Terms())


def check_removal(world: World) -> None:
    store, owner = world.store, IdentityId(new_id())
    group, user_endpoint = TaskGroupId(new_id()), EndpointId(new_id())
    store.ensure_group(group, owner)
    tasks = [
        NewTask(TaskId(new_id()), group, FunctionId(new_id()), "payload")
        for _ in range(2 * CHUNK + 1)
    ]
    store.add_tasks(owner, user_endpoint, user_endpoint, group, tasks, 1000.0)
    ended = [
        ReceivedResult(user_endpoint, Result(task_id=task.id, data="x"), b'{"x": 1}')
        for task in tasks[:-1]
    ]
    store.finish(ended, 2000.0)
    assert store.forget_tasks(2000.0) == 0
    assert store.forget_tasks(2001.0) == CHUNK
    assert len(store.group_tasks(group)) == CHUNK + 1
    assert store.forget_tasks(2001.0) == CHUNK
    assert store.forget_tasks(2001.0) == 0
    assert store.group_tasks(group) == [tasks[-1].id]
    assert store.forget_groups(time.time() + DAY_S) == 0
    assert store.idle_tasks(1000.0) == []
    assert store.idle_tasks(1001.0) == [(user_endpoint, tasks[-1].id)]
    store.finish([ReceivedResult(user_endpoint, Result(task_id=tasks[-1].id, data="x"), b"{}")], 1)
    assert store.forget_tasks(2.0) == 1
    assert store.forget_groups(time.time() + DAY_S) >= 1
    assert store.group_owner(group) is None


def test_old_tasks_are_removed_a_bounded_number_at_a_time(memory_world: World) -> None:
    check_removal(memory_world)


@pytest.mark.needs_rabbit
@pytest.mark.needs_postgres
def test_old_tasks_are_removed_on_postgresql(postgres_world: World) -> None:
    check_removal(postgres_world)


def test_a_result_can_be_asked_for_as_long_as_the_policy_says(
    memory_world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.next_task()
    child.finish(task_id)
    alice.ended(task_id)
    retention(memory_world, 29.9).round()
    assert alice.task(task_id)["status"] == "success"
    retention(memory_world, 30.1).round()
    assert alice.get(f"/v2/tasks/{task_id}").status == 404


def test_a_task_that_nobody_runs_is_given_up(
    memory_world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.beat(period=0)
    retention(memory_world, 13.9).round()
    retention(memory_world, 14.1).round()
    ended = alice.ended(task_id)
    assert ended["error_details"]["code"] == "TASK_EXPIRED"
    assert "within 14 days" in ended["exception"]


def test_a_task_at_a_user_endpoint_that_serves_is_not_given_up(
    memory_world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    retention(memory_world, 0, Terms(task_idle_s=1e-9)).round()
    assert memory_world.store.open_tasks(child.id) == [task_id]


def test_a_user_endpoint_that_is_long_gone_is_forgotten_with_its_queue(
    memory_world: World, alice: Caller, manager: Manager
) -> None:
    child, _ = served(alice, manager)
    child.close()
    manager.children.remove(child)
    manager.say("ended", manager.last)
    eventually(lambda: memory_world.store.user_endpoint(child.id).state == "gone")
    retention(memory_world, 29).round()
    assert memory_world.store.user_endpoint(child.id) is not None
    retention(memory_world, 31).round()
    assert memory_world.store.user_endpoint(child.id) is None
    # A new one is made and serves: the queue is declared afresh.
    again, _ = served(alice, manager)
    assert topology.task_queue(again.id)
