"""The hub's audit log: who, from where, what, and how it ended; written before it is done."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import (
    Caller,
    Manager,
    UserEndpoint,
    eventually,
    only_task,
    served,
)

from chamberlain_hub.api.refusals import STRANGERS_A_MINUTE
from chamberlain_hub.audit.entry import Action, Entry
from chamberlain_wire import audit_chain
from chamberlain_wire.ids import new_id

ADMIN, ALICE, BOB = "admin@example.edu", "alice@example.edu", "bob@example.edu"
CODE = "4\n01\nf"
LONG_ENOUGH = 1000


def log_of(world: World) -> Path:
    return world.folder / "audit.log"


def lines(world: World, action: str = "", **fields: Any) -> list[dict[str, Any]]:
    wanted = fields | ({"action": action} if action else {})
    return [
        line
        for line in audit_chain.entries(log_of(world))
        if all(line.get(name) == value for name, value in wanted.items())
    ]


def line(world: World, action: str, **fields: Any) -> dict[str, Any]:
    """Wait for a line: what only tells of something is not waited for by those who ask."""
    found: list[dict[str, Any]] = eventually(lambda: lines(world, action, **fields))
    return found[-1]


@pytest.fixture
def manager(memory_world: World) -> Manager:
    return memory_world.manager(memory_world.caller(ADMIN))


@pytest.fixture
def alice(memory_world: World) -> Caller:
    return memory_world.caller(ALICE)


@contextlib.contextmanager
def no_room_for_more(world: World) -> Iterator[None]:
    """A disk that is full for the audit log alone: no file may grow beyond its size."""
    for _ in range(LONG_ENOUGH):
        world.audit.put(Entry(action=Action.REQUEST, outcome="noted", reason="x" * 4000))
    world.audit.note()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_of(world).stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def check_whole_story(world: World) -> None:
    admin, alice = world.caller(ADMIN), world.caller(ALICE)
    manager = world.manager(admin)
    child, function = served(alice, manager)
    answer = alice.submit(manager.endpoint, function, "one", "two", "three")
    tasks = answer.ok()["tasks"][function]
    ends = ((None, "314"), ("RemoteExecutionError", ""), ("TASK_CANCELLED", ""))
    for task_id, (error, job) in zip(tasks, ends, strict=True):
        child.next_task()
        child.finish(task_id, error=error, job=job)
        alice.ended(task_id)
    manager.say("started", manager.last, account="chalice")

    registered = line(world, "function-registered")
    assert registered["functions"] == [
        {"id": function, "sha256": hashlib.sha256(CODE.encode()).hexdigest()}
    ]
    (token,) = [entry.id for entry in world.store.list_tokens(alice.identity)]
    submitted = line(world, "submit")
    assert submitted | {"at": "", "previous": ""} == {
        "at": "",
        "action": "submit",
        "outcome": "accepted",
        "identity": alice.identity,
        "username": ALICE,
        "source": "127.0.0.1",
        "token": token,
        "endpoint": manager.endpoint,
        "user_endpoint": child.id,
        "group": answer.document["task_group_id"],
        "functions": [{**registered["functions"][0], "tasks": tasks}],
        "previous": "",
    }
    outcomes = ("success", "failed", "cancelled")
    for task_id, outcome, (code, job) in zip(tasks, outcomes, ends, strict=True):
        ended = line(world, "tasks-ended", tasks=[task_id])
        assert (ended["outcome"], ended.get("code")) == (outcome, code)
        assert ended.get("job", "") == job
        assert (ended["identity"], ended["user_endpoint"]) == (alice.identity, child.id)
    told = line(world, "user-endpoint", outcome="started")
    assert (told["account"], told["user_endpoint"]) == ("chalice", child.id)
    assert line(world, "endpoint-registered")["username"] == ADMIN
    audit_chain.verify(log_of(world))


def test_the_whole_story_of_a_task_on_sqlite(memory_world: World) -> None:
    check_whole_story(memory_world)


@pytest.mark.needs_rabbit
@pytest.mark.needs_postgres
def test_the_whole_story_of_a_task_on_postgresql(postgres_world: World) -> None:
    check_whole_story(postgres_world)


def test_no_token_is_in_it(memory_world: World, manager: Manager, alice: Caller) -> None:
    served(alice, manager)
    memory_world.nobody("chm_" + "x" * 43).get("/v2/tasks/" + new_id())
    eventually(lambda: lines(memory_world, "request"))
    text = log_of(memory_world).read_text()
    for caller in (alice, memory_world.nobody("chm_" + "x" * 43)):
        assert caller._headers["Authorization"].removeprefix("Bearer ") not in text
    assert "args" not in text


def test_who_is_refused_is_noted_with_the_reason(
    memory_world: World, manager: Manager, alice: Caller
) -> None:
    missing = new_id()
    assert alice.submit(manager.endpoint, missing).status == 404
    assert alice.delete(f"/v2/endpoints/{manager.endpoint}").status == 403
    assert alice.post("/v3/functions", {"function_name": "f"}).status == 422
    assert memory_world.nobody().post(f"/v3/endpoints/{missing}/submit", {}).status == 401

    (submit,) = eventually(lambda: lines(memory_world, "request", code="FUNCTION_NOT_FOUND"))
    assert (submit["username"], submit["outcome"]) == (ALICE, "refused")
    assert submit["route"] == f"POST /v3/endpoints/{manager.endpoint}/submit"
    assert missing in submit["reason"]
    assert line(memory_world, "request", code="FORBIDDEN")["username"] == ALICE
    assert line(memory_world, "request", code="SEMANTICALLY_INVALID")["username"] == ALICE
    stranger = line(memory_world, "request", code="UNAUTHENTICATED")
    assert "username" not in stranger
    assert stranger["source"] == "127.0.0.1"


def test_strangers_cannot_push_the_log_out_of_itself(memory_world: World, alice: Caller) -> None:
    nobody = memory_world.nobody("no token")
    for _ in range(STRANGERS_A_MINUTE + 20):
        assert nobody.get("/v3/tasks").status == 401
    assert alice.post("/v3/functions", {}).status == 422
    line(memory_world, "request", username=ALICE)
    assert len(lines(memory_world, "request", code="UNAUTHENTICATED")) == STRANGERS_A_MINUTE


def test_only_a_trusted_proxy_may_say_who_it_asks_for(memory_world: World, alice: Caller) -> None:
    forged = {"X-Forwarded-For": "192.0.2.66, 198.51.100.7"}
    alice.send("POST", "/v3/functions", b"{}", **forged)
    assert line(memory_world, "request")["source"] == "127.0.0.1"

    memory_world.restart(trusted_proxies=["127.0.0.0/8"])
    alice = memory_world.caller(ALICE)
    alice.send("POST", "/v3/functions", b"{}", **forged)
    line(memory_world, "request", source="198.51.100.7")
    alice.send("POST", "/v3/functions", b"{}", **{"X-Forwarded-For": "192.0.2.66, <script>"})
    eventually(lambda: len(lines(memory_world, "request", source="127.0.0.1")) == 2)


def test_what_cannot_be_noted_is_not_done(
    memory_world: World, manager: Manager, alice: Caller
) -> None:
    child, function = served(alice, manager)
    before = len(memory_world.store.tasks_of(alice.identity, 100))
    with no_room_for_more(memory_world):
        refused = alice.submit(manager.endpoint, function)
        assert (refused.status, refused.document["code"]) == (503, "UNAVAILABLE")
        assert (
            alice.post("/v3/functions", {"function_name": "f", "function_code": CODE}).status == 503
        )
        assert alice.get("/v3/tasks").status == 200
    assert len(memory_world.store.tasks_of(alice.identity, 100)) == before
    assert len(memory_world.store.functions_of(alice.identity, 100)) == 1
    assert child.tasks.empty()

    alice.submit(manager.endpoint, function).ok()
    told = line(memory_world, "audit")
    assert told["reason"].startswith("2 lines could not be written since ")
    audit_chain.verify(log_of(memory_world))


def test_results_reach_their_owners_while_the_log_cannot_be_written(
    memory_world: World, manager: Manager, alice: Caller
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.next_task()
    with no_room_for_more(memory_world):
        child.finish(task_id)
        assert alice.ended(task_id)["status"] == "success"


def test_a_site_may_choose_to_go_on_without_the_log(memory_world: World) -> None:
    memory_world.restart(audit_on_failure="continue")
    alice = memory_world.caller(ALICE)
    manager = memory_world.manager(memory_world.caller(ADMIN))
    child, function = served(alice, manager)
    with no_room_for_more(memory_world):
        task_id = only_task(alice.submit(manager.endpoint, function), function)
        child.next_task()
    alice.function()
    told = line(memory_world, "audit")
    assert "could not be written" in told["reason"]
    assert not lines(memory_world, "submit", functions=[task_id])


@pytest.mark.parametrize("harm", ["byte", "tail", "file", "line"])
def test_harm_is_detected(memory_world: World, alice: Caller, harm: str) -> None:
    memory_world.restart(audit_max_bytes=64 * 1024)
    alice = memory_world.caller(ALICE)
    for _ in range(60):
        memory_world.audit.put(Entry(action=Action.REQUEST, outcome="noted", reason="x" * 4000))
    for _ in range(2):
        alice.function()
    log = log_of(memory_world)
    first = audit_chain.full_files(log)[1]
    audit_chain.verify(log)
    whole = bytearray(log.read_bytes())
    if harm == "byte":
        whole[len(whole) // 2] ^= 1
        log.write_bytes(whole)
    elif harm == "tail":
        log.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    elif harm == "file":
        first.unlink()
    else:
        first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(audit_chain.BrokenChainError):
        audit_chain.verify(log)


def test_the_chain_goes_on_over_a_restart(memory_world: World, alice: Caller) -> None:
    alice.function()
    memory_world.restart()
    memory_world.caller(ALICE).function()
    assert len(lines(memory_world, "function-registered")) == 2
    audit_chain.verify(log_of(memory_world))


def test_a_result_that_comes_twice_is_noted_as_a_repeat(
    memory_world: World, manager: Manager, alice: Caller
) -> None:
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.next_task()
    _twice(child, task_id)
    eventually(lambda: len(lines(memory_world, "tasks-ended", tasks=[task_id])) == 2)
    first, second = lines(memory_world, "tasks-ended", tasks=[task_id])
    assert (first.get("repeat"), second.get("repeat")) == (None, True)


def _twice(child: UserEndpoint, task_id: str) -> None:
    child.finish(task_id)
    child.finish(task_id)


def test_who_asked_for_a_cancellation_is_noted(memory_world: World, alice: Caller) -> None:
    task_id = new_id()
    alice.post("/v3/tasks/cancel", {"task_ids": [task_id]}).ok()
    assert line(memory_world, "cancel", tasks=[task_id])["username"] == ALICE
