"""User endpoints without a ledger, such as the public agent's: what they had taken ends."""

from __future__ import annotations

import time

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import (
    Caller,
    Manager,
    UserEndpoint,
    command_id,
    eventually,
    meanwhile,
    only_task,
)

from chamberlain_hub.domain.endpoint_life import MOST_UNANSWERED, SILENT_START_S
from chamberlain_wire.broker.port import AccessRefusedError
from chamberlain_wire.states import UserEndpointState

PERIOD_S = 0.3


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


def _forgetful(alice: Caller, manager: Manager) -> tuple[UserEndpoint, str, str]:
    """Return a user endpoint without a ledger, alice's function, and a task that it took."""
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        command = manager.next_command()
        child = UserEndpoint(command, manager.connect)
        manager.children.append(child)
        child.beat(PERIOD_S, ledger=None)
    task_id = only_task(asked.result(), function)
    child.next_task()
    return child, function, task_id


def test_what_it_took_ends_as_lost_and_what_waits_runs_at_the_next_start(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function, taken = _forgetful(alice, manager)
    child.close()
    waiting = only_task(alice.submit(manager.endpoint, function), function)
    ended = alice.ended(taken)
    assert ended["status"] == "failed"
    assert "had taken this task with it" in ended["exception"]
    again = manager.start(manager.next_command())
    assert again.next_task()[0].task_id == waiting
    again.finish(waiting)
    assert alice.ended(waiting)["status"] == "success"
    # Its result was in the hub's queue before its end was told: a repeat changes nothing.
    assert alice.ended(taken)["status"] == "failed"


@pytest.mark.needs_rabbit
def test_one_that_hangs_is_put_out_before_its_tasks_end(rabbit_world: World) -> None:
    alice = rabbit_world.caller("alice@example.edu")
    manager = rabbit_world.manager(rabbit_world.caller("admin@example.edu"))
    child, _, taken = _forgetful(alice, manager)
    assert alice.ended(taken)["status"] == "failed"
    with pytest.raises(AccessRefusedError):
        manager.connect(child.url)
    assert _state(rabbit_world, child) is UserEndpointState.GONE


def test_while_its_manager_is_away_what_it_took_ends_all_the_same(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, _, taken = _forgetful(alice, manager)
    child.close()
    manager.report(heartbeat_period=0)
    eventually(lambda: not world.online(manager))
    assert alice.ended(taken)["status"] == "failed"


def test_a_goodbye_that_keeps_the_period_is_a_goodbye(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, _, taken = _forgetful(alice, manager)
    child.finish(taken)
    alice.ended(taken)
    child.beat(PERIOD_S, ledger=None, active=False)
    eventually(lambda: _state(world, child) is UserEndpointState.STOPPING)


def test_a_hub_that_has_just_come_back_does_not_judge_at_once(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, _, taken = _forgetful(alice, manager)
    child.beat(60.0, ledger=None)
    eventually(lambda: _period(world, child) == 60.0)
    world.stop()
    world.start()
    late = world.store.user_endpoint(child.id)
    assert late is not None
    assert not world.dispatcher.sweep._tending._left_behind.settle(late)
    assert _state(world, child) is UserEndpointState.SERVING
    assert world.store.open_tasks(child.id) == [taken]


def test_a_start_that_nobody_answers_is_asked_again_and_then_given_up(
    memory_world: World,
) -> None:
    world = memory_world
    world.restart(submit_verdict_wait_s=0.1)
    alice = world.caller("alice@example.edu")
    manager = world.manager(world.caller("admin@example.edu"))
    late_s = [0.0]
    world.dispatcher.commands._clock = lambda: time.time() + late_s[0]
    function = alice.function()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    asked = {command_id(manager.next_command())}
    for _ in range(MOST_UNANSWERED - 1):
        late_s[0] += SILENT_START_S + 1
        asked.add(command_id(manager.next_command()))
    assert len(asked) == MOST_UNANSWERED
    late_s[0] += SILENT_START_S + 1
    assert "did not answer" in alice.ended(task_id)["exception"]


def _state(world: World, child: UserEndpoint) -> UserEndpointState:
    row = world.store.user_endpoint(child.id)
    assert row is not None
    return row.state


def _period(world: World, child: UserEndpoint) -> float:
    row = world.store.user_endpoint(child.id)
    assert row is not None
    return row.heartbeat_period_s
