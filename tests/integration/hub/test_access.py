"""What the hub refuses, and how it says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Answer, Caller, Manager, served

from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import MAX_SUBMIT_BYTES

SCHEMA = {
    "type": "object",
    "properties": {"queue": {"enum": ["short", "long"]}, "nodes": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.fixture
def world(memory_world: World) -> World:
    return memory_world


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("admin@example.edu")


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def bob(world: World) -> Caller:
    return world.caller("bob@example.edu")


@pytest.fixture
def manager(world: World, admin: Caller) -> Manager:
    return world.manager(admin, metadata={"user_config_schema": SCHEMA})


def refused(answer: Answer, status: int, code: str) -> str:
    document = answer.document
    assert (answer.status, document["code"]) == (status, code), document
    assert document["status"] == "Failed"
    assert document["http_status_code"] == status
    assert document["message"] == document["reason"]
    return str(document["reason"])


ROUTES = [
    ("GET", "/v2/get_amqp_result_connection_url"),
    ("POST", "/v3/functions"),
    ("GET", f"/v2/functions/{new_id()}"),
    ("DELETE", f"/v2/functions/{new_id()}"),
    ("POST", "/v3/endpoints"),
    ("PUT", f"/v3/endpoints/{new_id()}"),
    ("GET", "/v2/endpoints"),
    ("GET", f"/v2/endpoints/{new_id()}"),
    ("GET", f"/v2/endpoints/{new_id()}/status"),
    ("DELETE", f"/v2/endpoints/{new_id()}"),
    ("POST", f"/v3/endpoints/{new_id()}/lock"),
    ("GET", f"/v3/endpoints/{new_id()}/allowed_functions"),
    ("POST", f"/v3/endpoints/{new_id()}/submit"),
    ("GET", f"/v2/tasks/{new_id()}"),
    ("GET", f"/v3/tasks/{new_id()}/logs"),
    ("POST", "/v2/batch_status"),
    ("GET", f"/v2/taskgroup/{new_id()}"),
    ("GET", "/v3/tasks"),
    ("DELETE", f"/v3/sessions/{new_id()}"),
    ("GET", "/v2/oauth2/userinfo"),
]


@pytest.mark.parametrize("token", [None, "", "chp_" + "x" * 43, "garbage"])
def test_nobody_gets_past_without_a_token_that_we_know(world: World, token: str | None) -> None:
    nobody = world.nobody(token)
    for method, path in ROUTES:
        answer = nobody.ask(method, path, {} if method in ("POST", "PUT") else None)
        refused(answer, 401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_and_a_revoked_token_say_so(world: World, alice: Caller) -> None:
    _, expired = world.store.create_token(alice.identity, "old", time.time() - 1)
    token_id, revoked = world.store.create_token(alice.identity, "gone", None)
    world.store.revoke_token(token_id)
    assert "expired" in refused(world.nobody(expired).get("/v3/tasks"), 401, "UNAUTHENTICATED")
    assert "revoked" in refused(world.nobody(revoked).get("/v3/tasks"), 401, "UNAUTHENTICATED")


def test_other_peoples_things_do_not_exist(
    alice: Caller, bob: Caller, admin: Caller, manager: Manager
) -> None:
    _, function = served(alice, manager)
    task = alice.get("/v3/tasks").ok()["tasks"][0]
    task_id, group = task["task_id"], task["task_group_id"]
    refused(bob.get(f"/v2/tasks/{task_id}"), 404, "TASK_NOT_FOUND")
    refused(bob.get(f"/v3/tasks/{task_id}/logs"), 404, "TASK_NOT_FOUND")
    refused(bob.get(f"/v2/taskgroup/{group}"), 404, "TASKGROUP_NOT_FOUND")
    refused(bob.get(f"/v2/functions/{function}"), 404, "FUNCTION_NOT_FOUND")
    refused(bob.delete(f"/v2/functions/{function}"), 404, "FUNCTION_NOT_FOUND")
    refused(bob.submit(manager.endpoint, function), 404, "FUNCTION_NOT_FOUND")
    assert bob.post("/v2/batch_status", {"task_ids": [task_id]}).ok()["results"] == {}
    assert bob.get("/v3/tasks").ok() == {"tasks": []}
    mine = bob.function()
    answer = bob.submit(manager.endpoint, mine, task_group_id=group)
    refused(answer, 404, "TASKGROUP_NOT_FOUND")


def test_what_is_not_there_is_not_found(alice: Caller, manager: Manager) -> None:
    function = alice.function()
    refused(alice.submit(new_id(), function), 404, "ENDPOINT_NOT_FOUND")
    refused(alice.submit(manager.endpoint, new_id()), 404, "FUNCTION_NOT_FOUND")
    refused(alice.get(f"/v2/tasks/{new_id()}"), 404, "TASK_NOT_FOUND")
    refused(alice.get(f"/v3/tasks/{new_id()}/logs"), 404, "TASK_NOT_FOUND")
    refused(alice.get("/v3/tasks/garbage/logs"), 422, "SEMANTICALLY_INVALID")
    refused(alice.get(f"/v2/taskgroup/{new_id()}"), 404, "TASKGROUP_NOT_FOUND")
    refused(alice.get(f"/v2/endpoints/{new_id()}"), 404, "ENDPOINT_NOT_FOUND")
    refused(alice.get("/v2/no/such/route"), 404, "NOT_FOUND")
    alice.delete(f"/v2/functions/{function}").ok()
    refused(alice.submit(manager.endpoint, function), 404, "FUNCTION_NOT_FOUND")


def test_an_endpoint_of_one_user_serves_that_user_alone(
    world: World, admin: Caller, alice: Caller
) -> None:
    own = world.manager(admin, multi_user=False)
    refused(alice.submit(own.endpoint, alice.function()), 404, "ENDPOINT_NOT_FOUND")
    refused(alice.get(f"/v2/endpoints/{own.endpoint}"), 404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("options", "path"),
    [({"queue": "fast"}, "$.queue"), ({"nodes": "two"}, "$.nodes"), ({"partition": "x"}, "$")],
)
def test_options_that_fail_the_schema_name_path_and_reason(
    alice: Caller, manager: Manager, options: dict[str, Any], path: str
) -> None:
    answer = alice.submit(manager.endpoint, alice.function(), user_endpoint_config=options)
    reason = refused(answer, 422, "SEMANTICALLY_INVALID")
    assert reason.startswith("Request payload failed validation: ")
    assert f"{path}: " in reason
    assert str(next(iter(options.values()))) in reason or "partition" in reason


def bodies(function: str) -> Iterator[tuple[Any, str]]:
    yield {}, "$: Object missing required field `tasks`"
    yield {"tasks": {}}, "$.tasks"
    yield {"tasks": {function: []}}, "$.tasks"
    yield {"tasks": {function: [1]}}, "$.tasks[...][0]"
    yield {"tasks": {"no-uuid": ["x"]}}, "'no-uuid' is not a valid function id"
    yield {"tasks": {function: ["a\0b"]}}, "$.tasks"
    yield {"tasks": {function: ["x"]}, "task_group_id": "no"}, "task group id"
    yield {"tasks": {function: ["x"]}, "task_ids": {function: []}}, "$.task_ids"
    yield {"tasks": {function: ["x"]}, "task_ids": {function: ["no"]}}, "task id"
    yield {"tasks": {function: ["x"]}, "task_ids": {new_id(): [new_id()]}}, "$.task_ids"
    same = new_id()
    yield {"tasks": {function: ["x", "y"]}, "task_ids": {function: [same, same]}}, "twice"
    yield {"tasks": {function: ["x"]}, "user_endpoint_config": []}, "$.user_endpoint_config"
    yield {"tasks": {function: ["x"]}, "user_runtime": {"a": "b" * 40_000}}, "$.user_runtime"
    yield {"tasks": {function: ["x"]}, "resource_specification": {"a": "b" * 40_000}}, "$.resource"
    yield {"tasks": {function: ["x"] * 10_001}}, "limit is 10000"


def test_a_submit_that_makes_no_sense_is_told_where(alice: Caller, manager: Manager) -> None:
    function = alice.function()
    for body, told in bodies(function):
        answer = alice.post(f"/v3/endpoints/{manager.endpoint}/submit", body)
        reason = refused(answer, 422, "SEMANTICALLY_INVALID")
        assert told in reason, reason
    refused(alice.submit("no-uuid", function), 422, "SEMANTICALLY_INVALID")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"tasks": "\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_bad_request(
    alice: Caller, manager: Manager, body: bytes
) -> None:
    for method, path in (
        ("POST", f"/v3/endpoints/{manager.endpoint}/submit"),
        ("POST", "/v3/functions"),
        ("POST", "/v2/batch_status"),
    ):
        answer = alice.ask(method, path, body)
        assert answer.status in (400, 422), (path, answer.document)
        assert answer.document["code"] in ("INVALID_MESSAGE", "SEMANTICALLY_INVALID")


def test_a_body_above_the_limit_is_refused_by_its_length(alice: Caller, manager: Manager) -> None:
    path = f"/v3/endpoints/{manager.endpoint}/submit"
    answer = alice.ask("POST", path, b"x" * (MAX_SUBMIT_BYTES + 1))
    reason = refused(answer, 413, "TASK_PAYLOAD_TOO_LARGE")
    assert str(MAX_SUBMIT_BYTES) in reason
    assert str(MAX_SUBMIT_BYTES + 1) in reason


@pytest.mark.parametrize("path", ["/v3/endpoints/ID/submit", "/v3/functions"])
def test_a_body_without_a_length_is_refused_while_it_is_read(
    alice: Caller, manager: Manager, path: str
) -> None:
    sent_bytes = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent_bytes
        for _ in range(3 * MAX_SUBMIT_BYTES // 65536):
            sent_bytes += 65536
            yield b"x" * 65536

    answer = alice.send("POST", path.replace("ID", manager.endpoint), endless())
    assert str(MAX_SUBMIT_BYTES) in refused(answer, 413, "TASK_PAYLOAD_TOO_LARGE")


def test_nobody_unknown_has_his_body_read(world: World, manager: Manager) -> None:
    body = b"x" * MAX_SUBMIT_BYTES
    path = f"/v3/endpoints/{manager.endpoint}/submit"
    refused(world.nobody().ask("POST", path, body), 401, "UNAUTHENTICATED")


def test_a_function_above_the_limit_is_refused(alice: Caller) -> None:
    body = {"function_name": "f", "function_code": "x" * (5 * 1024 * 1024 + 1)}
    reason = refused(alice.post("/v3/functions", body), 413, "TASK_PAYLOAD_TOO_LARGE")
    assert "5242880" in reason


def test_listed_functions_only(world: World, admin: Caller, alice: Caller) -> None:
    function, other = alice.function(), alice.function()
    manager = world.manager(admin, allowed_functions=[function])
    answer = alice.submit(manager.endpoint, other)
    refused(answer, 403, "FUNCTION_NOT_PERMITTED")
    listed = alice.get(f"/v3/endpoints/{manager.endpoint}/allowed_functions").ok()
    assert listed == {
        "endpoint_id": manager.endpoint,
        "restricted": True,
        "functions": [function],
        "entries": [function],
    }


def test_a_locked_endpoint_takes_neither_tasks_nor_its_agent(
    admin: Caller, alice: Caller, manager: Manager
) -> None:
    path = f"/v3/endpoints/{manager.endpoint}"
    refused(alice.post(f"{path}/lock"), 403, "FORBIDDEN")
    assert "lock_expiration_timestamp" in admin.post(f"{path}/lock").ok()
    refused(admin.put(path, {"endpoint_name": "site"}), 423, "ENDPOINT_LOCKED")
    refused(alice.submit(manager.endpoint, alice.function()), 423, "ENDPOINT_LOCKED")


def test_nobody_registers_an_endpoint_of_somebody_else(alice: Caller, manager: Manager) -> None:
    body = {"endpoint_name": "mine", "multi_user": True}
    refused(alice.put(f"/v3/endpoints/{manager.endpoint}", body), 403, "FORBIDDEN")
    refused(alice.delete(f"/v2/endpoints/{manager.endpoint}"), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"metadata": {"user_config_schema": {"type": "no such type"}}}, "schema"),
        ({"metadata": {"user_config_schema": "{"}}, "$.metadata.user_config_schema"),
        ({"metadata": {"user_config_template": 1}}, "$.metadata.user_config_template"),
        ({"endpoint_name": "x" * 129}, "$.endpoint_name"),
        ({"allowed_functions": ["no"]}, "$.allowed_functions[0]"),
        ({"multi_user": "perhaps", "public": []}, "$.multi_user"),
        ({"display_name": "a\0b"}, "$.display_name"),
        ({"display_name": "a\ud800b"}, "$.display_name"),
        ({"metadata": {"user_config_template": "a\ud800b"}}, "$.metadata.user_config_template"),
    ],
)
def test_a_registration_that_makes_no_sense_is_told_where(
    admin: Caller, body: dict[str, Any], told: str
) -> None:
    answer = admin.post("/v3/endpoints", {"endpoint_name": "x", **body})
    assert told in refused(answer, 422, "SEMANTICALLY_INVALID")


def test_the_shortcut_and_the_described_route_are_the_same(alice: Caller, manager: Manager) -> None:
    path = f"/v3/endpoints/{manager.endpoint}/submit"
    for body in (b"{", b'{"tasks": {}}', b'{"tasks": {"x": ["y"]}}'):
        short, described = alice.ask("POST", path, body), alice.ask("POST", path + "?x", body)
        assert (short.status, short.document) == (described.status, described.document)
    answer = alice.ask("GET", path)
    assert answer.status == 405
