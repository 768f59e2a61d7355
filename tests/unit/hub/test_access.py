"""Who may see and use what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chamberlain_hub.domain.access import (
    may_manage,
    may_read_function,
    may_submit,
    may_use,
    owns,
    visible_to,
)
from chamberlain_hub.domain.endpoint import Endpoint
from chamberlain_hub.domain.errors import (
    EndpointLockedError,
    EndpointNotFoundError,
    ForbiddenError,
    FunctionNotFoundError,
    FunctionNotPermittedError,
)
from chamberlain_hub.domain.function import Function
from chamberlain_hub.domain.identity import Identity, Principal
from chamberlain_wire.ids import EndpointId, FunctionId, IdentityId


def _principal(*names: str) -> Principal:
    linked = tuple(Identity(IdentityId(name), "person", f"{name}@example.edu") for name in names)
    return Principal(linked[0], linked, "token")


OWNER, ADMIN, OTHER = _principal("owner", "owner-2"), _principal("admin"), _principal("other")
MULTI = Endpoint(EndpointId("e"), IdentityId("owner-2"), "cluster", admins=(IdentityId("admin"),))
SINGLE = replace(MULTI, multi_user=False)
MINE = Function(FunctionId("f"), IdentityId("other"), "f", "code", "hash")


def test_a_person_owns_what_any_linked_identity_owns() -> None:
    assert owns(OWNER, "owner")
    assert owns(OWNER, "owner-2")
    assert not owns(OTHER, "owner")


@pytest.mark.parametrize(
    ("principal", "endpoint", "manages", "sees", "uses"),
    [
        (OWNER, MULTI, True, True, True),
        (ADMIN, MULTI, True, True, True),
        (OTHER, MULTI, False, False, True),
        (OTHER, replace(MULTI, public=True), False, True, True),
        (OWNER, SINGLE, True, True, True),
        (OTHER, SINGLE, False, False, False),
        (OTHER, replace(SINGLE, public=True), False, True, True),
    ],
)
def test_who_manages_sees_and_uses_an_endpoint(
    principal: Principal, endpoint: Endpoint, manages: bool, sees: bool, uses: bool
) -> None:
    assert may_manage(principal, endpoint) is manages
    assert visible_to(principal, endpoint) is sees
    assert may_use(principal, endpoint) is uses


def test_a_function_is_for_its_owner_unless_it_is_public() -> None:
    assert may_read_function(OTHER, MINE)
    assert not may_read_function(ADMIN, MINE)
    assert may_read_function(ADMIN, replace(MINE, public=True))


def test_everybody_may_try_a_multi_user_endpoint_with_their_own_functions() -> None:
    may_submit(OTHER, MULTI, [MINE], 0.0)


@pytest.mark.parametrize("endpoint", [SINGLE, replace(SINGLE, public=True)])
def test_an_endpoint_of_one_user_runs_nothing_for_others(endpoint: Endpoint) -> None:
    with pytest.raises(EndpointNotFoundError):
        may_submit(OTHER, endpoint, [MINE], 0.0)


def test_somebody_elses_function_does_not_exist() -> None:
    with pytest.raises(FunctionNotFoundError):
        may_submit(ADMIN, MULTI, [MINE], 0.0)


def test_an_endpoint_may_run_listed_functions_only() -> None:
    listed = replace(MULTI, allowed_functions=(MINE.id,))
    may_submit(OTHER, listed, [MINE], 0.0)
    with pytest.raises(FunctionNotPermittedError) as caught:
        may_submit(OTHER, replace(MULTI, allowed_functions=()), [MINE], 0.0)
    assert MINE.id in caught.value.public


def test_a_locked_endpoint_says_how_long() -> None:
    locked = replace(MULTI, locked_until=100.0)
    may_submit(OTHER, locked, [MINE], 100.0)
    with pytest.raises(EndpointLockedError) as caught:
        may_submit(OTHER, locked, [MINE], 70.0)
    assert "30 s" in caught.value.public


def test_a_policy_that_cannot_be_checked_lets_nobody_in() -> None:
    with pytest.raises(ForbiddenError) as caught:
        may_submit(OWNER, replace(MULTI, authentication_policy="p-1"), [MINE], 0.0)
    assert "p-1" in caught.value.public
