"""From submit to result, with a manager and user endpoints that the tests play."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import WAIT_S, Answer, Caller, Manager, UserEndpoint, eventually

from chamberlain_wire import topology
from chamberlain_wire.broker.port import Outgoing
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import EndpointEvent, Result, StatusReport, TaskTransition

T = TypeVar("T")

UNKNOWN = Result(task_id=new_id(), data="")
REFUSAL = (
    "Identity failed to map to a local user name: effective identity 1, username mallory@there.org."
)


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


@contextmanager
def meanwhile(work: Callable[[], T]) -> Iterator[Future[T]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def served(alice: Caller, manager: Manager) -> tuple[UserEndpoint, str]:
    """Return a user endpoint of alice that serves, idle, and a function of hers."""
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        child = manager.start(manager.next_command())
    task_id = asked.result().ok()["tasks"][function][0]
    child.next_task()
    child.finish(task_id)
    alice.ended(task_id)
    return child, function


def silent(came: queue.SimpleQueue[object]) -> bool:
    try:
        came.get(timeout=0.6)
    except queue.Empty:
        return True
    return False


def only_task(answer: Answer, function: str) -> str:
    (task_id,) = answer.ok()["tasks"][function]
    return str(task_id)


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


def test_deleting_an_endpoint_ends_its_tasks(world: World, alice: Caller) -> None:
    admin = world.caller("admin@example.edu")
    manager = world.manager(admin)
    _, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    admin.delete(f"/v2/endpoints/{manager.endpoint}").ok()
    assert alice.ended(task_id)["error_details"]["code"] == "ENDPOINT_NOT_FOUND"
    assert alice.get(f"/v2/endpoints/{manager.endpoint}").status == 404
