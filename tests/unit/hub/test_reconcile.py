"""What to do for a user endpoint with open tasks: every state, with and without a manager."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chamberlain_hub.dispatch.reconcile import LEAVING_S, Do, next_step
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import MAX_FAILURES
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, IdentityId, new_id
from chamberlain_wire.states import UserEndpointState as State

NOW = 1000.0
UEP = UserEndpoint(
    id=EndpointId(new_id()), endpoint=EndpointId(new_id()), identity=IdentityId(new_id())
)
SILENT = {
    State.ASKED: Do.ASK,
    State.ADMITTED: Do.ASK,
    State.SERVING: Do.ASK,
    State.STOPPING: Do.ASK,
    State.GONE: Do.ASK,
    State.REFUSED: Do.FAIL,
    State.FAILED: Do.FAIL,
}


def do(user_endpoint: UserEndpoint, *, in_flight: bool = False, online: bool = True) -> Do:
    step = next_step(user_endpoint, now=NOW, in_flight=in_flight, manager_online=online)
    return step.do


@pytest.mark.parametrize("state", State)
def test_every_state_without_a_sign_of_life_has_one_answer(state: State) -> None:
    assert do(replace(UEP, state=state)) is SILENT[state]


@pytest.mark.parametrize("state", State)
def test_a_start_in_flight_is_waited_for(state: State) -> None:
    assert do(replace(UEP, state=state), in_flight=True) is Do.WAIT


@pytest.mark.parametrize("state", State)
def test_nothing_is_asked_of_a_manager_that_is_away(state: State) -> None:
    assert do(replace(UEP, state=state), online=False) in (Do.WAIT, Do.FAIL)


def test_one_that_serves_is_left_alone() -> None:
    assert do(replace(UEP, state=State.SERVING, last_heartbeat_at=NOW - 1)) is Do.WAIT


def test_one_that_says_goodbye_has_a_moment_to_go() -> None:
    leaving = replace(UEP, state=State.STOPPING, moved_at=NOW - 1)
    assert do(leaving) is Do.WAIT
    assert do(replace(leaving, moved_at=NOW - LEAVING_S)) is Do.ASK


def test_a_refusal_is_told_in_the_endpoints_own_words() -> None:
    refused = replace(
        UEP, state=State.REFUSED, error_code="IDENTITY_NOT_MAPPED", error_message="Nobody."
    )
    step = next_step(refused, now=NOW, in_flight=False, manager_online=False)
    assert (step.do, step.code, step.message) == (Do.FAIL, "IDENTITY_NOT_MAPPED", "Nobody.")


def test_what_ends_again_and_again_is_given_up() -> None:
    crashed = replace(UEP, failures=MAX_FAILURES, error_message="Signal 9.")
    step = next_step(crashed, now=NOW, in_flight=False, manager_online=True)
    assert (step.do, step.code) == (Do.FAIL, ErrorCode.TASK_LOST)
    assert "Signal 9." in step.message
