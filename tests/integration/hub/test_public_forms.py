"""Forms of requests and answers that only the public clients use."""

from __future__ import annotations

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Caller, served

from chamberlain_wire.ids import new_id


@pytest.fixture
def world(memory_world: World) -> World:
    return memory_world


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


def old_submit(alice: Caller, *tasks: tuple[str, str, str]) -> object:
    return {"tasks": [list(task) for task in tasks], "create_websocket_queue": True}


def test_an_older_submit_runs_at_several_endpoints_in_its_order(
    world: World, alice: Caller
) -> None:
    admin = world.caller("admin@example.edu")
    managers = [world.manager(admin) for _ in range(2)]
    served_here = [served(alice, manager) for manager in managers]
    (one, f), (other, g) = served_here
    here, there = (manager.endpoint for manager in managers)
    tasks = (f, here, "1"), (g, there, "2"), (f, here, "3")
    answer = alice.post("/v2/submit", old_submit(alice, *tasks)).ok()
    assert answer["response"] == "success"
    assert {told["http_status_code"] for told in answer["results"]} == {200}
    ids = [told["task_uuid"] for told in answer["results"]]
    group = alice.get(f"/v2/taskgroup/{answer['task_group_id']}").ok()
    assert {told["id"] for told in group["tasks"]} == set(ids)
    for child, task, said in ((one, ids[0], "a"), (other, ids[1], "b"), (one, ids[2], "c")):
        child.finish(task, said)
        assert alice.ended(task)["result"] == said


def test_an_older_submit_is_taken_as_a_whole_or_not_at_all(world: World, alice: Caller) -> None:
    manager = world.manager(world.caller("admin@example.edu"))
    _, function = served(alice, manager)
    before = len(alice.get("/v3/tasks").ok()["tasks"])
    tasks = (function, manager.endpoint, "1"), (function, new_id(), "2")
    refused = alice.post("/v2/submit", old_submit(alice, *tasks))
    assert (refused.status, refused.document["code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert len(alice.get("/v3/tasks").ok()["tasks"]) == before


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"no json", 400, "not JSON"),
        ({"tasks": []}, 422, "$.tasks: there is no task"),
        ({"tasks": [["one", "two"]]}, 422, "$.tasks[0]"),
        ({"tasks": [["f", "e", "p"]]}, 422, "is not a valid endpoint id"),
    ],
)
def test_an_older_submit_that_makes_no_sense_is_told_why(
    alice: Caller, body: object, status: int, said: str
) -> None:
    refused = alice.post("/v2/submit", body)
    assert refused.status == status
    assert said in refused.document["message"]


def test_nobody_submits_in_the_older_form_either(world: World) -> None:
    assert world.nobody("wrong").post("/v2/submit", {"tasks": []}).status == 401


def test_what_an_agent_says_of_itself_stands_where_the_public_clients_look(
    world: World, alice: Caller
) -> None:
    admin = world.caller("admin@example.edu")
    said = {"hostname": "login1", "local_user": "root", "endpoint_config": "public: true"}
    endpoint = world.manager(admin, metadata=said).endpoint
    mine, theirs = (one.get(f"/v2/endpoints/{endpoint}").ok() for one in (admin, alice))
    assert said.items() <= mine.items()
    assert theirs["hostname"] == "login1"
    assert not {"local_user", "endpoint_config"} & theirs.keys()


def test_who_asks_too_often_is_told_when_to_ask_again(world: World, alice: Caller) -> None:
    world.restart(max_requests_per_10_s=5)
    eager, calm = world.caller("alice@example.edu"), world.caller("calm@example.edu")
    answers = [eager.get("/v2/endpoints") for _ in range(8)]
    refused = next(one for one in answers if one.status != 200)
    assert (refused.status, refused.document["code"]) == (429, "MaxRequestsExceeded")
    assert int(refused.headers["Retry-After"]) in (1, 2)
    assert "More than 5 requests within 10 s" in refused.document["message"]
    submitted = eager.post("/v2/submit", {"tasks": []})
    assert submitted.status == 429
    assert calm.get("/v2/endpoints").status == 200


ID = "11111111-1111-4111-8111-111111111111"
ROUTES = f"""
GET /v2/get_amqp_result_connection_url
GET /v2/endpoints
POST /v2/endpoints
GET /v2/endpoints/{ID}
DELETE /v2/endpoints/{ID}
GET /v2/endpoints/{ID}/status
POST /v2/endpoints/{ID}/lock
POST /v2/functions
GET /v2/functions/{ID}
DELETE /v2/functions/{ID}
GET /v2/tasks/{ID}
POST /v2/batch_status
GET /v2/taskgroup/{ID}
POST /v2/submit
POST /v3/endpoints
PUT /v3/endpoints/{ID}
POST /v3/endpoints/{ID}/lock
GET /v3/endpoints/{ID}/allowed_functions
POST /v3/functions
POST /v3/endpoints/{ID}/submit
"""


def test_every_route_of_the_public_clients_is_there(world: World) -> None:
    nobody = world.nobody()
    missing = {}
    for line in ROUTES.split("\n"):
        if line:
            method, path = line.split()
            answer = nobody.ask(method, path, None if method == "GET" else {})
            # Who has no token is told so by every route; what is no route says 404 or 405.
            if (answer.status, answer.document["code"]) != (401, "UNAUTHENTICATED"):
                missing[line] = answer.status
    assert missing == {}
    assert isinstance(nobody.get("/v2/version").ok(), str)


def test_an_endpoint_registers_in_the_older_form(world: World) -> None:
    admin = world.caller("admin@example.edu")
    body = {"endpoint_uuid": ID, "endpoint_name": "old", "multi_user": True}
    for _ in range(2):
        answer = admin.post("/v2/endpoints", body).ok()
        assert answer["endpoint_id"] == ID
        assert answer["command_queue_info"]["queue"]
