"""Which account may run user endpoints, rule by rule."""

from __future__ import annotations

import pytest
from tests.launcher_builders import make_account

from chamberlain_endpoint.launcher import policy
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.errors import ErrorCode

LAB = (2000, "lab")
DENIED = policy.Denied(
    service_uids=frozenset({0, 998, 1500}), uids=frozenset({1666}), gids=frozenset({3000})
)


@pytest.mark.parametrize(
    ("account", "settings", "reason"),
    [
        (make_account("root", 0), PolicySettings(), "is root"),
        (make_account("toor", 0), PolicySettings(min_uid=1), "is root"),
        (make_account("svc", 1500), PolicySettings(), "own account"),
        (make_account("www-data", 33), PolicySettings(), "below min_uid 1000"),
        (make_account("nobody", 65534), PolicySettings(), "denied_accounts"),
        (make_account("alias", 1666), PolicySettings(), "denied_accounts"),
        (make_account("alice", 1001, LAB), PolicySettings(denied_groups=("lab",)), "denied_groups"),
        (make_account("alice", 1001, (3000, "x")), PolicySettings(), "denied_groups"),
        (make_account("alice"), PolicySettings(allowed_groups=("lab",)), "none of allowed_groups"),
    ],
)
def test_an_account_that_the_site_does_not_want_is_refused(
    account: Account, settings: PolicySettings, reason: str
) -> None:
    with pytest.raises(policy.AccountRefusedError, match=reason) as caught:
        policy.check_account(account, settings, DENIED)
    assert caught.value.code is ErrorCode.ACCOUNT_REFUSED
    assert account.uname not in caught.value.public
    assert "lab" not in caught.value.public


def test_every_reason_has_a_sentence_of_its_own() -> None:
    cases = [
        (make_account("root", 0), PolicySettings()),
        (make_account("svc", 1500), PolicySettings()),
        (make_account("www-data", 33), PolicySettings()),
        (make_account("nobody", 65534), PolicySettings()),
        (make_account("alice", 1001, LAB), PolicySettings(denied_groups=("lab",))),
        (make_account("alice"), PolicySettings(allowed_groups=("lab",))),
    ]
    sentences = set()
    for account, settings in cases:
        with pytest.raises(policy.AccountRefusedError) as caught:
            policy.check_account(account, settings, DENIED)
        sentences.add(caught.value.public)
    assert len(sentences) == len(cases)


@pytest.mark.parametrize(
    "settings",
    [PolicySettings(), PolicySettings(allowed_groups=("lab",)), PolicySettings(min_uid=1001)],
)
def test_an_ordinary_account_comes_in(settings: PolicySettings) -> None:
    policy.check_account(make_account("alice", 1001, (1001, "alice"), LAB), settings, DENIED)


def test_a_full_account_and_a_full_site_are_refused_with_the_limit() -> None:
    settings = PolicySettings(max_user_endpoints=3, max_user_endpoints_per_account=2)
    alice = make_account("alice", 1001)
    policy.check_room([1001, 1002], alice, settings)
    with pytest.raises(policy.AccountRefusedError, match="2 of 2") as refused:
        policy.check_room([1001, 1001], alice, settings)
    assert "2 user endpoints" in refused.value.public
    assert "max_user_endpoints_per_account" in refused.value.public
    with pytest.raises(policy.SiteFullError) as caught:
        policy.check_room([1001, 1002, 1003], alice, settings)
    assert caught.value.code is ErrorCode.SITE_FULL
    assert "3 user endpoints" in caught.value.public
    assert "(max_user_endpoints)" in caught.value.public
