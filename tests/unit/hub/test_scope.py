"""Scopes and the bound on wrong secrets."""

from __future__ import annotations

import pytest

from chamberlain_hub.domain.errors import ScopeUnknownError
from chamberlain_hub.domain.scope import COMPUTE, Grant, grants, may_compute, servers_of
from chamberlain_hub.domain.service_account import username
from chamberlain_hub.identity.attempts import Attempts

KEY = ("client", "10.0.0.1")


def test_no_scope_asks_for_computing() -> None:
    assert grants("") == grants(f"  {COMPUTE} {COMPUTE}") == (Grant("funcx_service", COMPUTE),)


def test_scopes_are_grouped_in_the_order_of_asking() -> None:
    auth, compute = grants(f"openid {COMPUTE} email")
    assert auth == Grant("auth.globus.org", "openid email")
    assert compute == Grant("funcx_service", COMPUTE)


def test_an_unknown_scope_is_named() -> None:
    with pytest.raises(ScopeUnknownError, match="no scope 'everything'"):
        grants("openid everything")


@pytest.mark.parametrize(
    ("scope", "good"), [(None, True), (COMPUTE, True), ("openid", False), ("", False)]
)
def test_only_a_token_for_computing_computes(scope: str | None, good: bool) -> None:
    assert may_compute(scope) is good


def test_a_token_without_scope_is_for_every_service() -> None:
    assert servers_of(None) == ("funcx_service", "auth.globus.org")
    assert servers_of("openid") == ("auth.globus.org",)


def test_the_username_has_the_hubs_domain() -> None:
    assert username("id", "https://Hub.example.edu:5000/x") == "id@clients.hub.example.edu"
    assert username("id", "http://[::1]:5000") == "id@clients.::1"


def test_after_too_many_wrong_ones_the_window_has_to_pass() -> None:
    attempts = Attempts(most=3, window_s=60.0)
    for second in range(3):
        assert attempts.wait_s(KEY, 100.0 + second) == 0
        attempts.note_wrong(KEY, 100.0 + second)
    assert attempts.wait_s(KEY, 102.5) == 58
    assert attempts.wait_s(("client", "10.0.0.2"), 102.5) == 0
    assert attempts.wait_s(KEY, 160.0) == 0
    attempts.note_wrong(KEY, 160.0)
    assert attempts.wait_s(KEY, 161.0) == 0


def test_the_oldest_key_is_forgotten_when_there_are_too_many() -> None:
    attempts = Attempts(most=1)
    attempts.note_wrong(KEY, 0.0)
    for number in range(5000):
        attempts.note_wrong((str(number), ""), 0.0)
    assert attempts.wait_s(KEY, 0.0) == 0
    assert attempts.wait_s(("4999", ""), 0.0) == 60
