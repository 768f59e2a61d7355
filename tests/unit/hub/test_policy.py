"""Authentication policies: who meets them."""

from __future__ import annotations

import pytest

from chamberlain_hub.domain.errors import PolicyInvalidError
from chamberlain_hub.domain.identity import Identity, Principal
from chamberlain_hub.domain.policy import Policy, PolicyRefusedError, check, checked
from chamberlain_wire.ids import IdentityId, new_id

ID = new_id()
NOW = 1_000_000.0


def _who(*usernames: str, proven_at: float | None = None, status: str = "used") -> Principal:
    linked = tuple(
        Identity(IdentityId(name), "person", name, last_authentication=proven_at, status=status)
        for name in usernames
    )
    return Principal(linked[0], linked, "token")


@pytest.mark.parametrize(
    ("include", "exclude", "usernames", "comes_in"),
    [
        ((), (), ["a@x.org"], True),
        (("x.org",), (), ["a@x.org"], True),
        (("x.org",), (), ["a@sub.x.org"], False),
        (("x.org",), (), ["a@evilx.org"], False),
        (("*.x.org",), (), ["a@sub.x.org"], True),
        (("*.x.org",), (), ["a@x.org"], True),
        (("*.x.org",), (), ["a@evilx.org"], False),
        (("x.org",), (), ["a@y.org", "b@x.org"], True),
        ((), ("x.org",), ["a@x.org"], False),
        ((), ("x.org",), ["a@x.org", "b@y.org"], True),
        (("*.x.org",), ("bad.x.org",), ["a@bad.x.org"], False),
        (("*.x.org",), ("bad.x.org",), ["a@good.x.org"], True),
        (("x.org", "y.org"), (), ["a@y.org"], True),
        # Not even when the name as a whole ends alike.
        (("x.org",), (), ["x.org@z.org"], False),
    ],
)
def test_domains_let_in_and_keep_out(
    include: tuple[str, ...], exclude: tuple[str, ...], usernames: list[str], comes_in: bool
) -> None:
    policy = Policy(ID, "p", include, exclude)
    if comes_in:
        check(policy, _who(*usernames), NOW)
        return
    with pytest.raises(PolicyRefusedError) as caught:
        check(policy, _who(*usernames), NOW)
    assert ID in caught.value.public
    assert caught.value.login_helps == ""


@pytest.mark.parametrize(
    ("proven_at", "comes_in"),
    [(NOW, True), (NOW - 60, True), (NOW - 61, False), (None, False), (NOW + 1, False)],
)
def test_an_old_or_unknown_proof_is_none(proven_at: float | None, comes_in: bool) -> None:
    policy = Policy(ID, "p", session_age_s=60.0)
    caller = _who("a@x.org", proven_at=proven_at)
    if comes_in:
        check(policy, caller, NOW)
        return
    with pytest.raises(PolicyRefusedError, match="last 60 s") as caught:
        check(policy, caller, NOW)
    assert caught.value.login_helps == ID


def test_a_second_factor_that_nobody_can_prove_lets_nobody_in() -> None:
    with pytest.raises(PolicyRefusedError, match="second factor"):
        check(Policy(ID, "p", mfa=True), _who("a@x.org", proven_at=NOW), NOW)


def test_an_identity_that_is_out_of_use_meets_nothing() -> None:
    with pytest.raises(PolicyRefusedError):
        check(Policy(ID, "p"), _who("a@x.org", status="closed"), NOW)


@pytest.mark.parametrize(
    "policy",
    [
        Policy("no id", "p"),
        Policy(ID, " "),
        Policy(ID, "x" * 201),
        Policy(ID, "p", include=("a b",)),
        Policy(ID, "p", exclude=("*",)),
        Policy(ID, "p", include=("a@x.org",)),
        Policy(ID, "p", session_age_s=0.0),
    ],
)
def test_what_makes_no_sense_is_no_policy(policy: Policy) -> None:
    with pytest.raises(PolicyInvalidError):
        checked(policy)


def test_domains_and_ids_are_kept_in_lower_case() -> None:
    kept = checked(Policy(ID.upper(), " p ", include=(" X.org ", "x.ORG")))
    assert (kept.id, kept.name, kept.include) == (ID, "p", ("x.org",))
