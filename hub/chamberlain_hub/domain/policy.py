"""Authentication policies: who may use an endpoint that asks for one. Pure.

The words are those of the public service: domains of identities that are let in or kept out,
how long ago the last proof of identity may have been, and whether it needs a second factor.
A caller comes in when one of their identities meets all of it. Whatever the hub cannot know
counts as not met.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chamberlain_hub.domain.errors import ForbiddenError, PolicyInvalidError
from chamberlain_hub.domain.identity import Identity, Principal

_DOMAIN: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
_MAX_NAME_CHARS: Final = 200
_USABLE: Final = ("used", "private")


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        include: domains that are let in, `*.example.edu` with all below it; empty: all.
        exclude: domains that are kept out, also when they are included.
        session_age_s: how long ago the identity may have been proven; None: whenever.
        mfa: it must have been proven with a second factor.
    """

    id: str
    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    session_age_s: float | None = None
    mfa: bool = False
    created_at: float = 0.0


class PolicyRefusedError(ForbiddenError):
    """The caller does not meet an endpoint's authentication policy. Answer 403.

    Attributes:
        login_helps: id of the policy that a new proof of identity would meet; empty: none.
    """

    login_helps = ""


def checked(policy: Policy) -> Policy:
    """Return `policy` as it is stored: its id and domains in lower case.

    Raises:
        PolicyInvalidError: it makes no sense; `public` says why.
    """
    if not policy.name.strip() or len(policy.name) > _MAX_NAME_CHARS:
        raise PolicyInvalidError(public=f"A policy needs a name of 1 to {_MAX_NAME_CHARS} letters.")
    try:
        policy_id = str(uuid.UUID(policy.id))
    except ValueError:
        raise PolicyInvalidError(public=f"{policy.id[:80]!r} is not an id (a UUID).") from None
    if policy.session_age_s is not None and policy.session_age_s <= 0:
        raise PolicyInvalidError(public="The age of a session must be more than 0.")
    return Policy(
        id=policy_id,
        name=policy.name.strip(),
        include=_domains(policy.include),
        exclude=_domains(policy.exclude),
        session_age_s=policy.session_age_s,
        mfa=policy.mfa,
        created_at=policy.created_at,
    )


def check(policy: Policy, principal: Principal, now: float) -> None:
    """Check that the caller meets `policy` at `now` (UTC seconds).

    Raises:
        PolicyRefusedError: they do not; `public` says what is missing.
    """
    if policy.mfa:
        # No way into this hub proves a second factor.
        raise _refused(policy, "a second factor, which no identity of this hub has proven")
    usable = [one for one in principal.linked if one.status in _USABLE]
    known = [one for one in usable if _let_in(policy, one)]
    if not known:
        raise _refused(policy, _wanted_domains(policy))
    age_s = policy.session_age_s
    if age_s is not None and not any(_is_fresh(one, age_s, now) for one in known):
        error = _refused(policy, f"an identity that was proven in the last {age_s:.0f} s")
        error.login_helps = policy.id
        raise error


def _let_in(policy: Policy, identity: Identity) -> bool:
    domain = identity.username.rpartition("@")[2]
    included = not policy.include or _is_one_of(domain, policy.include)
    return included and not _is_one_of(domain, policy.exclude)


def _is_one_of(domain: str, patterns: Iterable[str]) -> bool:
    return any(
        domain == pattern.removeprefix("*.")
        or (pattern.startswith("*.") and domain.endswith(pattern[1:]))
        for pattern in patterns
    )


def _is_fresh(identity: Identity, age_s: float, now: float) -> bool:
    last = identity.last_authentication
    # A proof from the future is none: some clock is wrong.
    return last is not None and 0 <= now - last <= age_s


def _wanted_domains(policy: Policy) -> str:
    wanted = " or ".join(policy.include) or "any domain"
    but = f", but not of {' or '.join(policy.exclude)}" if policy.exclude else ""
    return f"an identity of {wanted}{but}"


def _refused(policy: Policy, missing: str) -> PolicyRefusedError:
    return PolicyRefusedError(
        public=f"This endpoint asks for authentication policy {policy.name!r} ({policy.id}), "
        f"which needs {missing}."
    )


def _domains(given: Iterable[str]) -> tuple[str, ...]:
    domains = tuple(dict.fromkeys(one.strip().lower() for one in given))
    for one in domains:
        if _DOMAIN.fullmatch(one) is None:
            raise PolicyInvalidError(
                public=f"{one[:80]!r} is not a domain: write example.edu or *.example.edu."
            )
    return domains
