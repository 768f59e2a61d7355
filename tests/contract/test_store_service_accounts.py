"""What the store promises of service accounts and of the tokens they get."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from chamberlain_hub.domain.errors import (
    ClientRefusedError,
    IdentityUnknownError,
    ServiceAccountExistsError,
    ServiceAccountNameError,
    ServiceAccountUnknownError,
    UnauthenticatedError,
)
from chamberlain_hub.domain.scope import COMPUTE, grants
from chamberlain_hub.store.schema import service_accounts, tokens
from chamberlain_hub.store.store import Store
from chamberlain_wire.ids import new_id

URL = "https://Hub.Example.edu:5000"


def _token(store: Store, client_id: str, lives_s: float = 60.0) -> str:
    now = time.time()
    (token,) = store.grant_tokens(client_id, grants(COMPUTE), now, now + lives_s)
    return token


def test_a_service_account_is_an_identity_of_the_hubs_domain(store: Store) -> None:
    account, secret = store.create_service_account("cluster", URL)
    assert account.username == f"{account.client_id}@clients.hub.example.edu"
    principal = store.authenticate_client(account.client_id.upper(), secret)
    assert principal.identity.id == account.client_id
    assert [one.username for one in principal.linked] == [account.username]
    assert store.identity(account.client_id).username == account.username
    assert [one.name for one in store.list_service_accounts()] == ["cluster"]


def test_neither_secret_nor_token_is_in_the_database(store: Store) -> None:
    account, secret = store.create_service_account("cluster", URL)
    token = _token(store, account.client_id)
    with store._database.read() as connection:
        kept = [str(connection.execute(sa.select(table)).all()) for table in _KEPT]
    assert all(secret not in text and token not in text for text in kept)
    assert all(secret[4:20] not in text and token[4:20] not in text for text in kept)


_KEPT = (service_accounts, tokens)


def test_a_linked_account_is_an_identity_of_that_person(store: Store) -> None:
    alice = store.add_identity("alice@example.edu")
    account, secret = store.create_service_account("robot", URL, link_to="alice@example.edu")
    principal = store.authenticate_client(account.client_id, secret)
    assert [one.id for one in principal.linked] == [account.client_id, alice.id]
    with pytest.raises(IdentityUnknownError):
        store.create_service_account("other", URL, link_to="nobody@example.edu")
    assert len(store.list_service_accounts()) == 1
    assert len(store.list_identities()) == 2


def test_a_wrong_secret_an_unknown_client_and_rubbish_are_refused_alike(store: Store) -> None:
    account, secret = store.create_service_account("cluster", URL)
    wrong = [
        (account.client_id, secret + "x"),
        (account.client_id, ""),
        (new_id(), secret),
        ("cluster", secret),
        ("", ""),
        ("\0", "\0"),
    ]
    said = set()
    for client_id, presented in wrong:
        with pytest.raises(ClientRefusedError) as refused:
            store.authenticate_client(client_id, presented)
        said.add(refused.value.public)
    assert len(said) == 1


def test_a_token_is_good_for_its_scope_and_ends(store: Store) -> None:
    account, _ = store.create_service_account("cluster", URL)
    now = time.time()
    wanted = grants(f"openid {COMPUTE}")
    auth, compute = store.grant_tokens(account.client_id, wanted, now, now + 60)
    assert store.authenticate(auth, now).scope == "openid"
    assert store.authenticate(compute, now).scope == COMPUTE
    assert store.authenticate(compute, now).identity.last_authentication == now
    with pytest.raises(UnauthenticatedError, match="expired"):
        store.authenticate(compute, now + 61)
    kept = store.find_token(compute)
    assert kept is not None
    assert (kept.scope, kept.expires_at) == (COMPUTE, now + 60)
    assert store.find_token("chp_" + "x" * 43) is None
    assert store.find_token("rubbish") is None


def test_expired_tokens_are_forgotten_when_the_next_is_made(store: Store) -> None:
    account, _ = store.create_service_account("cluster", URL)
    for _ in range(3):
        _token(store, account.client_id, -1.0)
    _token(store, account.client_id)
    assert len(store.list_tokens(account.client_id)) == 1


def test_a_new_secret_makes_the_old_one_and_its_tokens_worthless(store: Store) -> None:
    account, old = store.create_service_account("cluster", URL)
    token = _token(store, account.client_id)
    rotated, new = store.rotate_service_account("cluster")
    assert rotated.client_id == account.client_id
    with pytest.raises(ClientRefusedError):
        store.authenticate_client(account.client_id, old)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        store.authenticate(token, time.time())
    assert store.authenticate_client(account.client_id, new).identity.id == account.client_id
    (listed,) = store.list_service_accounts()
    assert listed.rotated_at is not None


def test_a_revoked_account_is_worthless_for_ever(store: Store) -> None:
    account, secret = store.create_service_account("cluster", URL)
    token = _token(store, account.client_id)
    store.revoke_service_account(account.client_id)
    with pytest.raises(ClientRefusedError):
        store.authenticate_client(account.client_id, secret)
    with pytest.raises(ClientRefusedError):
        _token(store, account.client_id)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        store.authenticate(token, time.time())
    for change in (store.rotate_service_account, store.revoke_service_account):
        with pytest.raises(ServiceAccountUnknownError, match="revoked"):
            change("cluster")
    with pytest.raises(ServiceAccountExistsError):
        store.create_service_account("cluster", URL)
    # What it owns is still its own.
    assert store.identity(account.client_id).username == account.username


def test_names_are_checked_and_unique(store: Store) -> None:
    for name in ("", "two words", "-x", "x" * 65, "a/b", "ünicode", new_id()):
        with pytest.raises(ServiceAccountNameError):
            store.create_service_account(name, URL)
    store.create_service_account("cluster", URL)
    with pytest.raises(ServiceAccountExistsError):
        store.create_service_account("cluster", URL)
    with pytest.raises(ServiceAccountUnknownError):
        store.revoke_service_account("other")
    assert len(store.list_identities()) == 1


def test_with_its_identity_the_account_and_its_tokens_go(store: Store) -> None:
    account, secret = store.create_service_account("cluster", URL)
    _token(store, account.client_id)
    store.remove_identity(account.username)
    assert store.list_service_accounts() == []
    assert store.list_tokens() == []
    with pytest.raises(ClientRefusedError):
        store.authenticate_client(account.client_id, secret)
