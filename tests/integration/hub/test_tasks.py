"""From submit to result, with a manager and user endpoints that the tests play."""

from __future__ import annotations

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import (
    WAIT_S,
    Caller,
    Manager,
    meanwhile,
    only_task,
    served,
    silent,
)

from chamberlain_wire import topology
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import Result


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


def test_a_task_goes_out_and_its_result_comes_back(
    world: World, alice: Caller, manager: Manager
) -> None:
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function, "one", "two")) as asked:
        child = manager.start(manager.next_command())
    answer = asked.result().ok()
    assert answer["endpoint_id"] == child.id
    ids = answer["tasks"][function]
    results = world.sdk(alice).results(answer["task_group_id"])
    for task_id, payload in zip(ids, ("one", "two"), strict=True):
        task, delivery = child.next_task()
        assert (task.task_id, task.task_buffer) == (task_id, "4\n01\nf" + payload)
        assert delivery.headers[topology.HEADER_TASK] == task_id
        assert delivery.headers[topology.HEADER_FUNCTION] == function
        assert delivery.headers[topology.HEADER_RESOURCES] == "null"
        body = child.finish(task_id, f"result of {payload}")
        came = results.get(timeout=WAIT_S)
        assert came.body == body
        assert came.timestamp is not None
    assert alice.ended(ids[1])["result"] == "result of two"


@pytest.mark.needs_postgres
@pytest.mark.needs_rabbit
def test_the_same_on_postgresql(postgres_world: World) -> None:
    alice = postgres_world.caller("alice@example.edu")
    manager = postgres_world.manager(postgres_world.caller("admin@example.edu"))
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.next_task()
    child.finish(task_id, "again")
    assert alice.ended(task_id)["result"] == "again"


def test_the_command_carries_what_was_asked_and_a_signed_statement(
    world: World, alice: Caller, manager: Manager
) -> None:
    from chamberlain_wire.assertion import check_addressed, open_signed, request_digest

    function = alice.function()
    options, runtime = {"queue": "long"}, {"python_version": "3.11.7"}
    more = {"user_endpoint_config": options, "user_runtime": runtime}
    with meanwhile(lambda: alice.submit(manager.endpoint, function, **more)):
        command = manager.next_command()
        manager.say("admitted", command)
    kwargs = command.kwargs
    assert (kwargs.user_opts, kwargs.user_runtime) == (options, runtime)
    user_endpoint = kwargs.amqp_creds.endpoint_id
    assert kwargs.name == f"uep.{manager.endpoint}.{user_endpoint}"
    assert command.globus_username == "alice@example.edu"
    statement = open_signed(command.assertion.encode(), [world.key.public_key()])
    check_addressed(statement, endpoint=manager.endpoint, now=statement.issued_at)
    assert statement.user_endpoint == user_endpoint
    assert statement.identity == command.globus_effective_identity == alice.identity
    assert statement.source == "127.0.0.1"
    assert statement.request_digest == request_digest(options, runtime)


def test_a_repeat_is_answered_alike_and_stored_once(alice: Caller, manager: Manager) -> None:
    child, function = served(alice, manager)
    ids = {"task_ids": {function: [new_id(), new_id()]}}
    answers = [alice.submit(manager.endpoint, function, "a", "b", **ids).ok() for _ in range(2)]
    assert answers[0]["tasks"] == answers[1]["tasks"] == ids["task_ids"]
    assert answers[0]["task_group_id"] == answers[1]["task_group_id"]
    assert {child.next_task()[0].task_id for _ in range(2)} == set(ids["task_ids"][function])
    assert silent(child.tasks)
    group = alice.get(f"/v2/taskgroup/{answers[0]['task_group_id']}").ok()
    assert len(group["tasks"]) == 2


def test_somebody_elses_task_id_is_a_conflict(
    world: World, alice: Caller, manager: Manager
) -> None:
    served(alice, manager)
    taken = alice.get("/v3/tasks").ok()["tasks"][0]["task_id"]
    bob = world.caller("bob@example.edu")
    theirs = bob.function()
    ids = {"task_ids": {theirs: [taken]}}
    with meanwhile(lambda: bob.submit(manager.endpoint, theirs, **ids)) as asked:
        manager.say("admitted", manager.next_command())
    assert asked.result().status == 409
    assert asked.result().document["code"] == "CONFLICT"


def test_a_restart_of_the_hub_between_submit_and_result_loses_nothing(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, function = served(alice, manager)
    answer = alice.submit(manager.endpoint, function, "a", "b").ok()
    first, second = answer["tasks"][function]
    world.stop()
    child.finish(first, "made while the hub was away")
    world.start()
    alice = world.caller("alice@example.edu")
    child.finish(second, "made after")
    results = world.sdk(alice).results(answer["task_group_id"])
    told = [decode(results.get(timeout=WAIT_S).body, Result) for _ in range(2)]
    assert {one.task_id for one in told} == {first, second}
    assert alice.ended(first)["result"] == "made while the hub was away"


def test_a_crash_between_store_and_publish_loses_nothing(
    world: World, alice: Caller, manager: Manager
) -> None:
    child, _ = served(alice, manager)
    done = alice.get("/v3/tasks").ok()["tasks"][0]
    stored = world.store_task_unpublished(done, alice.identity)
    assert child.next_task()[0].task_id == stored


def test_deleting_an_endpoint_ends_its_tasks(world: World, alice: Caller) -> None:
    admin = world.caller("admin@example.edu")
    manager = world.manager(admin)
    _, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    admin.delete(f"/v2/endpoints/{manager.endpoint}").ok()
    assert alice.ended(task_id)["error_details"]["code"] == "ENDPOINT_NOT_FOUND"
    assert alice.get(f"/v2/endpoints/{manager.endpoint}").status == 404
