"""What the routes answer when all is well."""

from __future__ import annotations

import base64

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Caller, only_task, served

from chamberlain_hub.api.submit_body import SubmitBody
from chamberlain_wire.ids import new_id


@pytest.fixture
def world(memory_world: World) -> World:
    return memory_world


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("admin@example.edu")


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


def test_the_version_is_a_text_or_an_object(world: World) -> None:
    nobody = world.nobody()
    assert isinstance(nobody.get("/v2/version").ok(), str)
    every = nobody.get("/v2/version?service=all").ok()
    assert {"api", "min_sdk_version", "min_ep_version"} <= every.keys()


def test_health_says_what_is_wrong(world: World) -> None:
    nobody = world.nobody()
    assert nobody.get("/health").ok() == {"status": "ok", "database": True, "broker": True}
    world.dispatcher.link_up = False
    answer = nobody.get("/health")
    assert answer.status == 503
    assert answer.document["broker"] is False


def test_the_keys_that_sign_are_public(world: World) -> None:
    (key,) = world.nobody().get("/v3/assertion_keys").ok()["keys"]
    assert len(base64.b64decode(key)) == 32


def test_own_functions_are_listed_without_code(alice: Caller, world: World) -> None:
    mine = alice.function(description="adds")
    world.caller("bob@example.edu").function(public=True)
    (listed,) = alice.get("/v3/functions").ok()["functions"]
    assert (listed["function_uuid"], listed["description"]) == (mine, "adds")
    assert "function_code" not in listed
    assert alice.get("/v3/functions?limit=0").status == 422


def test_userinfo_tells_who_calls(world: World, alice: Caller) -> None:
    world.store.add_identity("a.liddell@other.org", link_to="alice@example.edu")
    told = alice.get("/v2/oauth2/userinfo").ok()
    assert told["sub"] == alice.identity
    assert told["preferred_username"] == "alice@example.edu"
    usernames = [entry["username"] for entry in told["identity_set"]]
    assert usernames == ["alice@example.edu", "a.liddell@other.org"]
    found = alice.get(f"/v2/api/identities?ids={alice.identity},{new_id()}").ok()["identities"]
    assert [entry["id"] for entry in found] == [alice.identity]


def test_openapi_describes_every_route_and_the_body_of_submit(world: World) -> None:
    document = world.nobody().get("/openapi.json").ok()
    submit = document["paths"]["/v3/endpoints/{endpoint_id}/submit"]["post"]
    content = submit["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    described = document["components"]["schemas"][name]
    assert set(described["properties"]) == set(SubmitBody.__struct_fields__)
    assert {"/v2/tasks/{task_id}", "/v3/functions", "/v3/tasks"} <= document["paths"].keys()


def test_a_function_comes_back_as_it_was_registered(world: World, alice: Caller) -> None:
    meta = {"python_version": "3.11.7"}
    function = alice.function("4\n01\nf", meta=meta, description="says f", public=True)
    told = world.caller("bob@example.edu").get(f"/v2/functions/{function}").ok()
    assert told["function_code"] == "4\n01\nf"
    assert (told["function_name"], told["description"], told["meta"]) == ("f", "says f", meta)


def test_plain_source_is_wrapped(alice: Caller) -> None:
    function = alice.function("def f(): pass", serialized=False)
    code = alice.get(f"/v2/functions/{function}").ok()["function_code"]
    assert code == "18\nst\nf:def f(): pass"


def test_an_agent_may_choose_the_id_of_its_endpoint(admin: Caller) -> None:
    chosen = new_id()
    body = {"endpoint_name": "site", "multi_user": True}
    for _ in range(2):
        answer = admin.put(f"/v3/endpoints/{chosen}", body).ok()
        assert answer["endpoint_id"] == chosen
    assert len(answer["assertion_keys"]) == 1
    for kind in ("results", "heartbeats"):
        info = answer[f"{kind.removesuffix('s')}_queue_info"]
        assert info["queue_publish_kwargs"] == {
            "exchange": kind,
            "routing_key": f"{chosen}.{kind}",
            "mandatory": True,
            "properties": {"delivery_mode": 2},
        }
    assert answer["command_queue_info"]["queue"] == f"{chosen}.commands"


def test_endpoints_are_listed_for_those_who_may_see_them(
    world: World, admin: Caller, alice: Caller
) -> None:
    hidden = world.manager(admin, endpoint_name="hidden").endpoint
    public = world.manager(admin, endpoint_name="open", public=True).endpoint
    managed = world.manager(admin, endpoint_name="shared", admins=[alice.identity]).endpoint

    def listed(caller: Caller, role: str) -> set[str]:
        return {entry["uuid"] for entry in caller.get(f"/v2/endpoints?role={role}").ok()}

    assert listed(admin, "owner") == {hidden, public, managed}
    assert listed(alice, "owner") == set()
    assert listed(alice, "any") == {public, managed}


def test_an_endpoint_shows_its_configuration_to_those_who_manage_it(
    world: World, admin: Caller, alice: Caller
) -> None:
    metadata = {
        "endpoint_config": "secret: yes",
        "hostname": "login1",
        "user_config_template": "engine: {}",
        "user_config_schema": {"type": "object"},
    }
    endpoint = world.manager(admin, metadata=metadata).endpoint
    mine, theirs = (one.get(f"/v2/endpoints/{endpoint}").ok() for one in (admin, alice))
    assert mine["metadata"]["endpoint_config"] == "secret: yes"
    assert "endpoint_config" not in theirs["metadata"]
    assert theirs["metadata"]["hostname"] == "login1"
    assert theirs["user_config_schema"] == {"type": "object"}
    assert theirs["user_config_template"] == "engine: {}"


def test_a_status_shows_what_was_said_last(world: World, admin: Caller) -> None:
    manager = world.manager(admin)
    status = admin.get(f"/v2/endpoints/{manager.endpoint}/status").ok()
    assert status == {"status": "online", "details": {"heartbeat_period": 30}}


def test_a_task_document_has_all_that_the_clients_read(world: World, alice: Caller) -> None:
    from chamberlain_wire import codec
    from chamberlain_wire.messages import ErrorDetails, Result

    manager = world.manager(world.caller("admin@example.edu"))
    child, function = served(alice, manager)
    done = only_task(alice.submit(manager.endpoint, function), function)
    failed = only_task(alice.submit(manager.endpoint, function), function)
    waiting = only_task(alice.submit(manager.endpoint, function), function)
    child.finish(done, "good")
    child.publish(
        child._results,
        codec.encode(
            Result(
                task_id=failed,
                data="Traceback \\ud800",
                error_details=ErrorDetails(code="RemoteExecutionError", user_message="oh"),
                details={"python_version": "3.11.7"},
                exception="packed",
                usage={"cpu_s": 0.1},
            )
        ),
    )
    alice.ended(failed)
    results = alice.post("/v2/batch_status", {"task_ids": [done, failed, waiting, new_id()]}).ok()
    told = results["results"]
    assert told.keys() == {done, failed, waiting}
    assert told[done]["result"] == "good"
    assert float(told[done]["completion_t"]) > 1e9
    assert told[failed]["exception"] == "Traceback \\ud800"
    assert told[failed]["packed_exception"] == "packed"
    assert told[failed]["usage"] == {"cpu_s": 0.1}
    assert told[failed]["details"]["python_version"] == "3.11.7"
    assert told[failed]["error_details"]["code"] == "RemoteExecutionError"
    assert told[waiting]["status"] not in ("success", "failed")
    assert "completion_t" not in told[waiting]


def test_own_tasks_are_listed_newest_first(world: World, alice: Caller) -> None:
    manager = world.manager(world.caller("admin@example.edu"))
    _, function = served(alice, manager)
    second = only_task(alice.submit(manager.endpoint, function), function)
    tasks = alice.get("/v3/tasks?limit=5").ok()["tasks"]
    assert tasks[0]["task_id"] == second
    assert tasks[0]["function_name"] == "f"
    assert len(tasks) == 2
    assert len(alice.get("/v3/tasks?limit=1").ok()["tasks"]) == 1
    assert [one["state"] for one in alice.get("/v3/tasks?state=success").ok()["tasks"]] == [
        "success"
    ]
    assert alice.get("/v3/tasks?limit=0").status == 422
