"""A user of an endpoint that runs listed functions only tries to submit something else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Answer, Caller, Manager, meanwhile, silent

from chamberlain_wire.ids import new_id

ADMIN, ALICE = "admin@example.edu", "alice@example.edu"
CODE, OTHER_CODE = "6\nst\nf:x", "6\nst\nf:y"
SCHEMA = {
    "type": "object",
    "properties": {"MAX_WORKERS": {"type": "integer"}},
    "additionalProperties": False,
}


def sha256(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


class Scene:
    """An endpoint that allows one function by id, one with its hash, and one code."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin, self.alice = world.caller(ADMIN), world.caller(ALICE)
        self.listed = self.admin.function(CODE, public=True)
        self.pinned = self.admin.function(CODE, public=True)
        self.drifted = self.admin.function(OTHER_CODE, public=True)
        self.manager: Manager = world.manager(
            self.admin,
            allowed_functions=[
                self.listed,
                {"id": self.pinned, "sha256": sha256(CODE)},
                {"id": self.drifted, "sha256": sha256(CODE)},
                "sha256:" + sha256("6\nst\nf:z"),
            ],
            metadata={"user_config_schema": SCHEMA},
        )

    def submit(self, function: str, **more: Any) -> Answer:
        return self.alice.submit(self.manager.endpoint, function, **more)

    def mixed(self) -> Answer:
        tasks = {self.listed: ["a"], self.alice.function(OTHER_CODE): ["b"]}
        path = f"/v3/endpoints/{self.manager.endpoint}/submit"
        return self.alice.post(path, {"tasks": tasks, "create_queue": True})

    def register(self, code: str, **more: Any) -> Answer:
        body = {"function_name": "f", "function_code": code, **more}
        return self.alice.post("/v3/functions", body)

    def under_the_listed_id(self) -> Answer:
        made = self.register(OTHER_CODE, function_uuid=self.listed, uuid=self.listed).ok()
        assert made["function_uuid"] != self.listed
        return self.submit(made["function_uuid"])

    def by_another_route(self) -> Answer:
        other = self.alice.function(OTHER_CODE)
        body = {"tasks": [[other, self.manager.endpoint, "x"]], "functions": {}}
        return self.alice.post("/v2/submit", body)


@pytest.fixture
def scene(memory_world: World) -> Scene:
    return Scene(memory_world)


FORBIDDEN, SENSELESS = 403, 422

ATTEMPTS: dict[str, tuple[int, Callable[[Scene], Answer]]] = {
    "a function of one's own": (FORBIDDEN, lambda s: s.submit(s.alice.function(OTHER_CODE))),
    "the listed code under one's own id": (
        FORBIDDEN,
        lambda s: s.submit(s.alice.function(CODE)),
    ),
    "a public function of somebody else's": (
        FORBIDDEN,
        lambda s: s.submit(s.admin.function(OTHER_CODE, public=True)),
    ),
    "a listed id with other code": (FORBIDDEN, lambda s: s.submit(s.drifted)),
    "one listed, one not": (FORBIDDEN, Scene.mixed),
    "a function that was made under the listed id": (FORBIDDEN, Scene.under_the_listed_id),
    "a list of one's own in the request": (
        FORBIDDEN,
        lambda s: s.submit(s.alice.function(OTHER_CODE), allowed_functions=None),
    ),
    "code in the request": (
        FORBIDDEN,
        lambda s: s.submit(
            s.alice.function(OTHER_CODE), function_code=CODE, function_uuid=s.listed
        ),
    ),
    "the endpoint registered anew without a list": (
        FORBIDDEN,
        lambda s: s.alice.put(
            f"/v3/endpoints/{s.manager.endpoint}", {"endpoint_name": "x", "multi_user": True}
        ),
    ),
    "a function that does not exist": (404, lambda s: s.submit(new_id())),
    "an entry in place of an id": (SENSELESS, lambda s: s.submit("sha256:" + sha256(CODE))),
    "a path of the older interface": (FORBIDDEN, Scene.by_another_route),
    "setup text in the options": (
        SENSELESS,
        lambda s: s.submit(s.listed, user_endpoint_config={"endpoint_setup": "id"}),
    ),
    "init text in the options": (
        SENSELESS,
        lambda s: s.submit(s.listed, user_endpoint_config={"worker_init": "id"}),
    ),
    "a list of one's own in the options": (
        SENSELESS,
        lambda s: s.submit(s.listed, user_endpoint_config={"allowed_functions": []}),
    ),
    "a reserved name in the options": (
        SENSELESS,
        lambda s: s.submit(s.listed, user_endpoint_config={"_GC": {"parent_config": {}}}),
    ),
    "an older reserved name": (
        SENSELESS,
        lambda s: s.submit(s.listed, user_endpoint_config={"parent_config": {}}),
    ),
    "code that reaches into the arguments": (SENSELESS, lambda s: s.register("60\nst\nf:x")),
    "code of two parts": (SENSELESS, lambda s: s.register(CODE + CODE)),
    "no code at all": (SENSELESS, lambda s: s.register("0")),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_else_is_accepted(scene: Scene, name: str) -> None:
    status, attempt = ATTEMPTS[name]
    answer = attempt(scene)
    assert answer.status == status, answer.document
    assert scene.world.store.tasks_of(scene.alice.identity, 10) == []
    assert silent(scene.manager.commands)


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 20


def test_the_refusal_names_the_function_and_its_hash(scene: Scene) -> None:
    answer = scene.submit(scene.drifted)
    assert answer.document["code"] == "FUNCTION_NOT_PERMITTED"
    assert scene.drifted in answer.document["message"]
    assert sha256(OTHER_CODE) in answer.document["message"]


@pytest.mark.parametrize("which", ["listed", "pinned", "by hash"])
def test_what_is_listed_is_accepted(scene: Scene, which: str) -> None:
    function = {
        "listed": scene.listed,
        "pinned": scene.pinned,
        "by hash": scene.alice.function("6\nst\nf:z"),
    }[which]
    with meanwhile(lambda: scene.submit(function)) as asked:
        scene.manager.start(scene.manager.next_command())
    asked.result().ok()


def test_the_list_is_shown_with_its_hashes(scene: Scene) -> None:
    path = f"/v3/endpoints/{scene.manager.endpoint}/allowed_functions"
    shown = scene.alice.get(path).ok()
    assert shown["functions"] == [scene.listed, scene.pinned, scene.drifted]
    assert shown["entries"][1] == f"{scene.pinned}@sha256:{sha256(CODE)}"


def test_a_function_is_shown_with_its_hash(scene: Scene) -> None:
    alice: Caller = scene.alice
    assert alice.get(f"/v2/functions/{scene.listed}").ok()["sha256"] == sha256(CODE)
