"""How user endpoints are asked for, refused, and asked for again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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

from chamberlain_hub.domain.endpoint_life import MOST_RESTARTS
from chamberlain_wire.codec import decode
from chamberlain_wire.messages import Result

REFUSAL = (
    "Identity failed to map to a local user name: effective identity 1, username mallory@there.org."
)


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


def test_a_user_endpoint_that_serves_is_not_asked_for_again(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    for _ in range(3):
        task_id = only_task(alice.submit(manager.endpoint, function), function)
        assert child.next_task()[0].task_id == task_id
    assert silent(manager.commands)


def test_many_submits_at_once_cause_one_start(alice: Caller, manager: Manager) -> None:
    function = alice.function()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(alice.submit, manager.endpoint, function) for _ in range(6)]
        child = manager.start(manager.next_command())
        expected = {only_task(one.result(), function) for one in asked}
    assert {child.next_task()[0].task_id for _ in range(6)} == expected
    assert silent(manager.commands)


def test_other_options_reach_another_user_endpoint(alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    more = {"user_endpoint_config": {"queue": "long"}}
    with meanwhile(lambda: alice.submit(manager.endpoint, function, **more)) as asked:
        other = manager.start(manager.next_command())
    assert asked.result().ok()["endpoint_id"] == other.id != child.id


def test_a_refusal_is_told_at_submit_and_nothing_is_stored(world: World, manager: Manager) -> None:
    mallory = world.caller("mallory@there.org")
    function = mallory.function()
    for _ in range(2):
        with meanwhile(lambda: mallory.submit(manager.endpoint, function)) as asked:
            command = manager.next_command()
            manager.say("refused", command, code="IDENTITY_NOT_MAPPED", message=REFUSAL)
        answer = asked.result()
        assert answer.status == 422
        assert answer.document["code"] == "SEMANTICALLY_INVALID"
        assert answer.document["reason"] == "Request payload failed validation: " + REFUSAL
        assert answer.document["cause"] == "IDENTITY_NOT_MAPPED"
    assert mallory.get("/v3/tasks").ok() == {"tasks": []}


@pytest.mark.parametrize("kind", ["refused", "failed"])
def test_a_verdict_after_the_wait_ends_the_tasks(world: World, kind: str) -> None:
    world.restart(submit_verdict_wait_s=0.2)
    alice, admin = world.caller("alice@example.edu"), world.caller("admin@example.edu")
    manager = world.manager(admin)
    function = alice.function()
    answer = alice.submit(manager.endpoint, function).ok()
    results = world.sdk(alice).results(answer["task_group_id"])
    manager.say(kind, manager.next_command(), code="TEMPLATE_FAILED", message="Line 3: no.")
    (task_id,) = answer["tasks"][function]
    document = alice.ended(task_id)
    assert document["status"] == "failed"
    assert document["exception"] == "Line 3: no."
    assert document["error_details"]["code"] == "TEMPLATE_FAILED"
    told = decode(results.get(timeout=WAIT_S).body, Result)
    assert (told.task_id, told.data) == (task_id, "Line 3: no.")


def test_what_failed_is_not_run_by_a_later_start(world: World) -> None:
    world.restart(submit_verdict_wait_s=0.2)
    alice = world.caller("alice@example.edu")
    manager = world.manager(world.caller("admin@example.edu"))
    function = alice.function()
    first = only_task(alice.submit(manager.endpoint, function), function)
    manager.say("failed", manager.next_command(), code="START_FAILED", message="no")
    alice.ended(first)
    second = only_task(alice.submit(manager.endpoint, function), function)
    child = manager.start(manager.next_command())
    assert child.next_task()[0].task_id == second
    assert silent(child.tasks)


def test_the_public_agents_way_to_say_that_a_start_failed_is_understood(
    alice: Caller, manager: Manager
) -> None:
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        child = UserEndpoint(manager.next_command(), manager.connect)
        manager.children.append(child)
        child.beat(3, error="no such partition")
    assert asked.result().status == 422
    assert asked.result().document["reason"].endswith("no such partition")


def test_submit_waits_no_longer_than_the_limit(world: World) -> None:
    world.restart(submit_verdict_wait_s=0.3)
    alice = world.caller("alice@example.edu")
    manager = world.manager(world.caller("admin@example.edu"))
    function = alice.function()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child = manager.start(manager.next_command())
    assert child.next_task()[0].task_id == task_id


def test_open_tasks_of_a_user_endpoint_that_ended_cause_a_new_start(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    command = manager.last
    child.close()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    manager.say("ended", command, clean=True)
    again = manager.start(manager.next_command())
    assert again.id == child.id
    assert again.next_task()[0].task_id == task_id


def test_a_start_that_joined_a_process_which_then_ends_is_asked_again(
    alice: Caller, manager: Manager
) -> None:
    """The manager tells that end with the command that the process was started by."""
    child, function = served(alice, manager)
    first = manager.last
    child.beat(0.05)
    eventually(lambda: alice.get(f"/v2/endpoints/{child.id}/status").ok()["status"] == "offline")
    child.close()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        second = manager.next_command()
        manager.say("admitted", second)
        manager.say("started", second)
    task_id = only_task(asked.result(), function)
    manager.say("ended", first, clean=True)
    again = manager.start(manager.next_command())
    assert again.next_task()[0].task_id == task_id


def test_the_late_end_of_an_earlier_start_takes_nothing_from_the_one_that_serves(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    first = manager.last
    child.beat(0.05)
    eventually(lambda: alice.get(f"/v2/endpoints/{child.id}/status").ok()["status"] == "offline")
    child.close()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        again = manager.start(manager.next_command())
    task_id = only_task(asked.result(), function)
    assert again.next_task()[0].task_id == task_id
    manager.say("ended", first, clean=True)
    # The hub asks, to be sure; it is told that one runs already.
    manager.say("started", manager.next_command())
    again.finish(task_id)
    assert alice.ended(task_id)["status"] == "success"
    again.beat()
    later = only_task(alice.submit(manager.endpoint, function), function)
    assert again.next_task()[0].task_id == later


def test_after_three_unclean_ends_in_a_row_the_tasks_fail(alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    command = manager.last
    for _ in range(3):
        child.close()
        manager.say("ended", command, clean=False, code="START_FAILED", message="signal 9")
        if _ < 2:
            command = manager.next_command()
            child = manager.start(command)
    document = alice.ended(task_id)
    assert document["error_details"]["code"] == "TASK_LOST"
    assert "signal 9" in document["exception"]


def test_one_that_ends_cleanly_each_time_without_a_task_is_not_started_for_ever(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    for _ in range(MOST_RESTARTS):
        child.close()
        manager.say("ended", manager.last, clean=True)
        child = manager.start(manager.next_command())
    child.close()
    manager.say("ended", manager.last, clean=True)
    document = alice.ended(task_id)
    assert document["error_details"]["code"] == "TASK_LOST"
    assert f"started {MOST_RESTARTS} times" in document["exception"]
    assert silent(manager.commands)


def test_one_that_ends_a_task_in_each_life_is_started_as_often_as_needed(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    payloads = [str(number) for number in range(MOST_RESTARTS + 2)]
    *ids, last = alice.submit(manager.endpoint, function, *payloads).ok()["tasks"][function]
    for task_id in ids:
        child.finish(task_id)
        alice.ended(task_id)
        child.close()
        manager.say("ended", manager.last, clean=True)
        child = manager.start(manager.next_command())
    child.finish(last)
    assert alice.ended(last)["status"] == "success"


def test_one_that_says_goodbye_is_waited_for_before_another_is_asked(
    alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    child.beat(0)
    eventually(lambda: alice.get(f"/v2/endpoints/{child.id}/status").ok()["state"] == "stopping")
    child.close()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    assert silent(manager.commands)
    manager.say("ended", manager.last, clean=True)
    assert manager.start(manager.next_command()).next_task()[0].task_id == task_id


def test_an_endpoint_that_is_away_gets_its_tasks_when_it_comes_back(
    world: World, alice: Caller, manager: Manager
) -> None:
    manager.report(heartbeat_period=0)
    eventually(lambda: not world.online(manager))
    function = alice.function()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    manager.next_command()
    world.dispatcher.commands.end(alice.get("/v3/tasks").ok()["tasks"][0]["user_endpoint_id"])
    world.forget_starts()
    manager.beat()
    assert manager.start(manager.next_command()).next_task()[0].task_id == task_id


def test_a_start_that_was_asked_before_a_restart_is_asked_again(
    world: World, alice: Caller, manager: Manager
) -> None:
    world.restart(submit_verdict_wait_s=0.1)
    alice = world.caller("alice@example.edu")
    function = alice.function()
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    manager.next_command()
    world.stop()
    world.forget_starts()
    world.start()
    manager.beat()
    assert manager.start(manager.next_command()).next_task()[0].task_id == task_id
