"""An endpoint that asks for an authentication policy."""

from __future__ import annotations

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import Answer, Caller, eventually, served
from tests.integration.hub.test_oauth import Program

from chamberlain_hub.domain.policy import Policy
from chamberlain_wire.ids import new_id


@pytest.fixture
def world(memory_world: World) -> World:
    return memory_world


def _says_no(answer: Answer) -> str:
    assert (answer.status, answer.document["code"]) == (403, "FORBIDDEN"), answer.document
    return str(answer.document["message"])


def test_a_policy_is_stored_shown_and_closed_until_it_is_defined(world: World) -> None:
    admin, alice = world.caller("admin@example.edu"), world.caller("alice@example.edu")
    asked = new_id().upper()
    manager = world.manager(admin, authentication_policy=asked, high_assurance=True)
    function = alice.function()
    shown = alice.get(f"/v2/endpoints/{manager.endpoint}").ok()
    assert (shown["authentication_policy"], shown["high_assurance"]) == (asked, True)
    said = _says_no(alice.submit(manager.endpoint, function))
    assert "chamberlain-hub policy create" in said
    assert asked in said
    world.store.add_policy(Policy(asked, "staff", include=("example.edu",)))
    served(alice, manager)
    stranger = world.caller("mallory@elsewhere.org")
    said = _says_no(stranger.submit(manager.endpoint, stranger.function()))
    assert "needs an identity of example.edu" in said
    world.store.delete_policy(asked)
    eventually(lambda: alice.submit(manager.endpoint, function).status == 403)


def test_a_new_proof_of_identity_meets_the_age_of_a_session(world: World) -> None:
    admin: Caller = world.caller("admin@example.edu")
    policy = world.store.add_policy(Policy(new_id(), "fresh", session_age_s=600.0))
    manager = world.manager(admin, authentication_policy=policy.id)
    answer = admin.submit(manager.endpoint, admin.function())
    assert "in the last 600 s" in _says_no(answer)
    wanted = answer.document["authorization_parameters"]
    assert wanted["session_required_policies"] == [policy.id]
    robot = world.nobody(Program(world).token()["access_token"])
    served(robot, manager)
