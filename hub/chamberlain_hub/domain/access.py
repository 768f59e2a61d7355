"""Who may see, manage and use what. Pure.

Somebody else's task, function or private endpoint is answered as if it did not exist: an id
must not become a way to ask what others do.
"""

from __future__ import annotations

from collections.abc import Iterable

from chamberlain_hub.domain.endpoint import Endpoint
from chamberlain_hub.domain.errors import (
    EndpointLockedError,
    EndpointNotFoundError,
    ForbiddenError,
    FunctionNotFoundError,
    FunctionNotPermittedError,
)
from chamberlain_hub.domain.function import Function
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.domain.policy import Policy, check


def owns(principal: Principal, owner: str) -> bool:
    """Tell whether `owner` (identity id) is the caller, under any linked identity."""
    return owner in principal.ids


def may_manage(principal: Principal, endpoint: Endpoint) -> bool:
    """Tell whether the caller may update, lock or delete the endpoint."""
    return owns(principal, endpoint.owner) or not principal.ids.isdisjoint(endpoint.admins)


def visible_to(principal: Principal, endpoint: Endpoint) -> bool:
    """Tell whether the caller may find the endpoint in lists."""
    return endpoint.public or may_manage(principal, endpoint)


def may_use(principal: Principal, endpoint: Endpoint) -> bool:
    """Tell whether the caller may know the endpoint by its id.

    Whoever knows the id of a multi-user endpoint may try: the site's identity mapping
    decides who comes in, and `public` is only about lists. An endpoint of one user serves
    that user alone.
    """
    return endpoint.multi_user or visible_to(principal, endpoint)


def may_read_function(principal: Principal, function: Function) -> bool:
    """Tell whether the caller may see and run the function."""
    return function.public or owns(principal, function.owner)


def may_submit(
    principal: Principal,
    endpoint: Endpoint,
    functions: Iterable[Function],
    now: float,
    policy: Policy | None = None,
) -> None:
    """Check that the caller may run `functions` at `endpoint` at `now` (UTC seconds).

    Args:
        policy: the authentication policy that the endpoint asks for; None: it asks for none,
            or for one that this hub does not know.

    Raises:
        EndpointNotFoundError: it is another user's own endpoint.
        ForbiddenError: the caller does not meet its authentication policy, or nobody knows it.
        EndpointLockedError: its administrator locked it for a while.
        FunctionNotFoundError: a function is somebody else's.
        FunctionNotPermittedError: the endpoint runs listed functions only.
    """
    if not (endpoint.multi_user or may_manage(principal, endpoint)):
        raise EndpointNotFoundError(public=f"There is no endpoint {endpoint.id}.")
    _check_policy(principal, endpoint, policy, now)
    if endpoint.locked_until is not None and now < endpoint.locked_until:
        left_s = endpoint.locked_until - now
        raise EndpointLockedError(
            public=f"Endpoint {endpoint.id} is locked. Try again in {left_s:.0f} s."
        )
    for function in functions:
        _check_function(principal, endpoint, function)


def _check_policy(
    principal: Principal, endpoint: Endpoint, policy: Policy | None, now: float
) -> None:
    asked = endpoint.authentication_policy
    if asked is None:
        return
    if policy is None or policy.id != asked.lower():
        # Fail closed: letting the caller in without the check would be worse than refusing.
        raise ForbiddenError(
            public=(
                f"Endpoint {endpoint.id} asks for authentication policy {asked}, which this hub "
                "does not know. The hub's administrator has to define it (chamberlain-hub policy "
                "create --id), or the endpoint's to remove authentication_policy."
            )
        )
    check(policy, principal, now)


def _check_function(principal: Principal, endpoint: Endpoint, function: Function) -> None:
    if not may_read_function(principal, function):
        raise FunctionNotFoundError(public=f"There is no function {function.id}.")
    allowed = endpoint.allowed_functions
    if allowed is not None and function.id not in allowed:
        raise FunctionNotPermittedError(
            public=(
                f"Function {function.id} is not permitted on endpoint {endpoint.id}: "
                "its administrator allows listed functions only."
            )
        )
