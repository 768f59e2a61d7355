"""The life of a user endpoint: every pair of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chamberlain_hub.domain.endpoint import Endpoint, UserEndpoint
from chamberlain_hub.domain.endpoint_life import (
    MAX_FAILURES,
    UserEndpointEvent,
    gives_verdicts,
    holds_tasks,
    is_live,
    is_online,
    is_stale,
    is_starting,
    is_unclean,
    may_restart,
    move,
)
from chamberlain_wire.errors import IllegalMoveError
from chamberlain_wire.ids import CommandId, EndpointId, IdentityId
from chamberlain_wire.states import UserEndpointState

S = UserEndpointState
E = UserEndpointEvent

# Columns: asked admitted serving stopping gone refused failed; "-" is no move.
TABLE = """
asked      asked     asked     asked     asked     asked    asked    asked
admitted   admitted  -         -         -         -        -        -
refused    refused   refused   -         -         -        -        -
started    admitted  admitted  -         -         -        -        -
heartbeat  serving   serving   serving   serving   serving  serving  serving
leaving    -         -         stopping  stopping  -        -        -
ended      gone      gone      gone      gone      -        -        -
crashed    gone      gone      gone      gone      -        -        -
failed     failed    failed    gone      gone      -        -        -
"""
CASES = [
    (state, E(event), after)
    for event, *row in (line.split() for line in TABLE.split("\n") if line)
    for state, after in zip(S, row, strict=True)
]
UEP = UserEndpoint(EndpointId("u"), EndpointId("e"), IdentityId("i"))


def test_the_table_names_every_pair() -> None:
    assert {(state, event) for state, event, _ in CASES} == {(s, e) for s in S for e in E}


@pytest.mark.parametrize(("state", "event", "after"), CASES)
def test_every_pair_moves_as_the_table_says(state: S, event: E, after: str) -> None:
    if after == "-":
        with pytest.raises(IllegalMoveError):
            move(state, event)
    else:
        assert move(state, event) is S(after)


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("event", list(E))
def test_a_report_about_another_start_is_stale_only_while_one_is_in_flight(
    state: S, event: E
) -> None:
    uep = replace(UEP, state=state, command=CommandId("new"))
    # What was admitted may have joined the process that ends.
    counts = state is S.ADMITTED and event in (E.ENDED, E.CRASHED)
    assert is_stale(uep, "old", event) is (state in (S.ASKED, S.ADMITTED) and not counts)
    assert not is_stale(uep, "new", event)
    assert not is_stale(uep, None, event)


def test_unclean_are_the_ends_that_were_not_meant() -> None:
    assert {event for event in E if is_unclean(event)} == {E.FAILED, E.CRASHED}


@pytest.mark.parametrize("state", list(S))
def test_live_is_who_serves_and_was_heard_within_three_periods(state: S) -> None:
    uep = replace(UEP, state=state, last_heartbeat_at=100.0, heartbeat_period_s=10.0)
    serves = state is S.SERVING
    assert is_live(uep, 100.0) is serves
    assert is_live(uep, 129.9) is serves
    assert not is_live(uep, 130.0)
    assert not is_live(replace(uep, last_heartbeat_at=None), 100.0)


def test_online_is_a_manager_that_was_heard_and_did_not_leave() -> None:
    endpoint = Endpoint(
        EndpointId("e"), IdentityId("i"), "n", last_heartbeat_at=100.0, heartbeat_period_s=10.0
    )
    assert is_online(endpoint, 129.9)
    assert not is_online(endpoint, 130.0)
    assert not is_online(replace(endpoint, heartbeat_period_s=0.0), 100.0)
    assert not is_online(replace(endpoint, last_heartbeat_at=None), 100.0)


@pytest.mark.parametrize("state", list(S))
def test_starting_is_who_was_asked_lately_and_is_not_decided(state: S) -> None:
    uep = replace(UEP, state=state, asked_at=100.0)
    waits = state in (S.ASKED, S.ADMITTED)
    assert is_starting(uep, 159.0, 60.0) is waits
    assert not is_starting(uep, 160.0, 60.0)
    assert not is_starting(replace(uep, asked_at=None), 100.0, 60.0)


def test_after_three_failures_in_a_row_nobody_asks_again() -> None:
    assert MAX_FAILURES == 3
    assert [may_restart(replace(UEP, failures=count)) for count in range(5)] == (
        [True] * 3 + [False] * 2
    )


@pytest.mark.parametrize(
    ("state", "told", "holds"),
    [
        (S.SERVING, {}, True),
        (S.STOPPING, {"active": False}, True),
        (S.SERVING, {"ledger": True}, False),
        (S.SERVING, {"ledger": "true"}, True),
        (S.GONE, {}, False),
        (S.ASKED, {}, False),
    ],
)
def test_tasks_go_with_what_served_and_keeps_no_ledger(
    state: S, told: dict[str, object], holds: bool
) -> None:
    one = UserEndpoint(
        EndpointId("u"), EndpointId("e"), IdentityId("i"), state=state, last_state=told
    )
    assert holds_tasks(replace(one, last_heartbeat_at=1.0)) is holds
    assert not holds_tasks(one)


def test_a_manager_that_tells_no_digest_gives_no_verdicts() -> None:
    public = Endpoint(EndpointId("e"), IdentityId("i"), "e", last_state={"heartbeat_period": 5})
    assert not gives_verdicts(public)
    assert gives_verdicts(replace(public, last_state={"site_digest": "abc"}))
