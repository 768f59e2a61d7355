"""The routes with which programs get tokens, as the public clients call them."""

from __future__ import annotations

import base64
import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Answer, Caller

from chamberlain_hub.domain.scope import COMPUTE
from chamberlain_wire.ids import new_id

_PROJECTS = "urn:globus:auth:scope:auth.globus.org:manage_projects"
_SCOPES = f"openid {COMPUTE} {_PROJECTS}"


@pytest.fixture
def world(memory_world: World) -> World:
    return memory_world


class Program:
    """A service account, and its way to the hub."""

    def __init__(self, world: World, name: str = "cluster", **options: Any) -> None:
        account, self.secret = world.store.create_service_account(
            name, "http://hub.example.edu", **options
        )
        self.id, self.username = str(account.client_id), account.username
        self._caller = world.nobody()

    def ask(self, path: str, basic: tuple[str, str] | None = None, **form: str) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if basic is not None:
            pair = base64.b64encode(":".join(basic).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return self._caller.send("POST", f"/v2/oauth2/{path}", urlencode(form).encode(), **headers)

    def signed(self, path: str, **form: str) -> Answer:
        return self.ask(path, (self.id, self.secret), **form)

    def token(self, scope: str = COMPUTE) -> Any:
        return self.signed("token", grant_type="client_credentials", scope=scope).ok()


def _refused(answer: Answer, status: int, error: str) -> str:
    assert (answer.status, answer.document["error"]) == (status, error), answer.document
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.document["message"] == answer.document["error_description"]
    return str(answer.document["error_description"])


def test_tokens_are_grouped_by_the_service_they_are_for(world: World) -> None:
    program = Program(world)
    answer = program.signed("token", grant_type="client_credentials", scope=_SCOPES)
    first = answer.ok()
    (other,) = first["other_tokens"]
    assert (first["resource_server"], first["scope"]) == ("auth.globus.org", f"openid {_PROJECTS}")
    assert (other["resource_server"], other["scope"]) == ("funcx_service", COMPUTE)
    for one in (first, other):
        assert (one["token_type"], one["expires_in"]) == ("Bearer", 43200)
    assert first["access_token"] != other["access_token"]
    assert answer.headers["Cache-Control"] == "no-store"
    told = world.nobody(other["access_token"]).get("/v2/oauth2/userinfo").ok()
    assert (told["sub"], told["preferred_username"]) == (program.id, program.username)
    assert [one["sub"] for one in told["identity_set"]] == [program.id]


def test_the_secret_may_be_in_the_form(world: World) -> None:
    program = Program(world)
    form = {"client_id": program.id, "client_secret": program.secret}
    answer = program.ask("token", grant_type="client_credentials", **form).ok()
    assert (answer["scope"], answer["other_tokens"]) == (COMPUTE, [])
    twice = program.signed("token", grant_type="client_credentials", **form)
    _refused(twice, 400, "invalid_request")


def test_a_token_for_asking_who_one_is_computes_nothing(world: World) -> None:
    program = Program(world)
    narrow = world.nobody(program.token("openid profile email")["access_token"])
    narrow.get("/v2/oauth2/userinfo").ok()
    found = narrow.get(f"/v2/api/identities?ids={program.id}").ok()["identities"]
    assert [one["username"] for one in found] == [program.username]
    submit = (f"/v3/endpoints/{new_id()}/submit", {"tasks": {}})
    for answer in (narrow.post(*submit), narrow.get("/v2/endpoints"), narrow.get("/v3/tasks")):
        assert (answer.status, answer.document["code"]) == (403, "FORBIDDEN")
        assert COMPUTE in answer.document["message"]
    assert world.nobody(program.token()["access_token"]).get("/v2/endpoints").ok() == []


def test_identities_are_found_by_id_or_username_among_ones_own(world: World) -> None:
    alice, bob = world.caller("alice@example.edu"), world.caller("bob@example.edu")
    path = "/v2/api/identities?usernames="
    found = alice.get(path + "Alice@example.edu,bob@example.edu").ok()["identities"]
    assert [one["id"] for one in found] == [alice.identity]
    assert bob.get(f"/v2/api/identities?ids={alice.identity}").ok() == {"identities": []}
    assert alice.get("/v2/api/identities").status == 422
    both = f"/v2/api/identities?ids={alice.identity}&usernames=x@y"
    assert alice.get(both).status == 422


def test_wrong_secrets_are_refused_and_then_have_to_wait(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    program, other = Program(world), Program(world, "other")
    grant = {"grant_type": "client_credentials"}
    with caplog.at_level(logging.DEBUG):
        for _ in range(10):
            answer = program.ask("token", (program.id, "chs_wrong"), **grant)
            _refused(answer, 401, "invalid_client")
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
        late = program.ask("token", (program.id, "chs_wrong"), **grant)
        assert "Try again in" in _refused(late, 429, "invalid_client")
        assert 1 <= int(late.headers["Retry-After"]) <= 60
        # Not even the right one is looked at: otherwise guessing would go on.
        _refused(program.signed("token", **grant), 429, "invalid_client")
        _refused(program.signed("token/introspect", token="x"), 429, "invalid_client")
        other.token()
    assert all(text not in caplog.text for text in (program.secret, other.secret, "chs_wrong"))


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "openid all"}, 400, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": f"{COMPUTE}[x]"}, 400, "invalid_scope"),
    ],
)
def test_refusals_are_in_the_form_of_oauth2(
    world: World, form: dict[str, str], status: int, error: str
) -> None:
    _refused(Program(world).signed("token", **form), status, error)


def test_a_request_that_is_no_form_or_names_nobody_is_refused(world: World) -> None:
    program = Program(world)
    _refused(program.ask("token", grant_type="client_credentials"), 401, "invalid_client")
    json = world.nobody().post("/v2/oauth2/token", {"grant_type": "client_credentials"})
    _refused(json, 400, "invalid_request")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, more in (
        (b"grant_type=a&grant_type=b", {}),
        (b"&".join(b"%d=1" % number for number in range(65)), {}),
        (b"a=" + b"x" * 65536, {}),
        (b"\xff=1", {}),
        (b"grant_type=x", {"Authorization": "Basic %%%"}),
        (b"grant_type=x", {"Authorization": "Basic /w=="}),
    ):
        answer = world.nobody().send("POST", "/v2/oauth2/token", body, **form, **more)
        _refused(answer, 400, "invalid_request")


def test_introspection_shows_a_program_its_own_tokens_only(world: World) -> None:
    program, other = Program(world), Program(world, "other")
    token = program.token()["access_token"]
    told = program.signed("token/introspect", token=token, include="identity_set").ok()
    assert told["active"] is True
    assert (told["sub"], told["username"], told["scope"]) == (
        program.id,
        program.username,
        COMPUTE,
    )
    assert told["exp"] - told["iat"] == 43200
    assert told["aud"] == ["funcx_service", program.id]
    assert told["identity_set"] == [program.id]
    assert other.signed("token/introspect", token=token).ok() == {"active": False}
    assert other.signed("token/introspect", token="rubbish").ok() == {"active": False}
    _refused(other.ask("token/introspect", token=token), 401, "invalid_client")
    _refused(other.signed("token/introspect"), 400, "invalid_request")


def test_a_token_that_was_given_back_is_worthless(world: World) -> None:
    program = Program(world)
    token, kept = program.token()["access_token"], program.token()["access_token"]
    for _ in range(2):
        assert program.signed("token/revoke", token=token).ok() == {"active": False}
    assert program.signed("token/introspect", token=token).ok() == {"active": False}
    assert world.nobody(token).get("/v2/endpoints").status == 401
    world.nobody(kept).get("/v2/endpoints").ok()
    # Whoever has it may give it back, as a program without a secret does.
    assert program.ask("token/revoke", token=kept, client_id=program.id).ok() == {"active": False}
    assert world.nobody(kept).get("/v2/endpoints").status == 401
    assert program.signed("token/revoke", token="rubbish").ok() == {"active": False}


def test_a_service_account_registers_and_submits_like_anybody(world: World) -> None:
    world.caller("alice@example.edu")
    robot = Program(world, "robot", link_to="alice@example.edu")
    token = robot.token()["access_token"]
    caller: Caller = world.nobody(token)
    manager = world.manager(caller)
    alice = world.caller("alice@example.edu")
    assert alice.get(f"/v2/endpoints/{manager.endpoint}").ok()["owner"] == robot.id
    caller.delete(f"/v2/endpoints/{manager.endpoint}").ok()
