"""What the store promises of itself, of identities, tokens, functions and groups."""

from __future__ import annotations

import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from chamberlain_hub.domain.errors import (
    FunctionNotFoundError,
    IdentityExistsError,
    IdentityUnknownError,
    StoreNotMigratedError,
    StoreUnavailableError,
    TaskGroupNotFoundError,
    TokenUnknownError,
    UnauthenticatedError,
    UsernameInvalidError,
    ValueRefusedError,
)
from chamberlain_hub.domain.function import Function
from chamberlain_hub.store.schema import metadata, tokens
from chamberlain_hub.store.store import Store
from chamberlain_wire.ids import (
    FunctionId,
    IdentityId,
    new_id,
)
from devtools.postgres import PrivatePostgres


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(url.replace("postgresql://", "postgresql+psycopg://")))


def _function(owner: IdentityId, **fields: object) -> Function:
    return Function(
        **{  # type: ignore[arg-type]
            "id": FunctionId(new_id()),
            "owner": owner,
            "name": "hello",
            "code": "3\n00\nx",
            "sha256": "0" * 64,
            "meta": {"python_version": "3.12.1"},
            **fields,
        }
    )


# Migrations


def test_migrations_make_the_tables_of_the_schema(empty_url: str) -> None:
    store = Store.open(empty_url)
    assert store.is_new()
    store.migrate()
    store.migrate()
    store.check_migrated()
    assert not store.is_new()
    store.close()
    engine = _engine(empty_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_hubs_that_migrate_at_once_all_succeed(empty_url: str) -> None:
    stores = [Store.open(empty_url) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda store: store.migrate(), stores))
    for store in stores:
        store.check_migrated()
        store.close()


def test_a_database_that_is_not_migrated_names_the_command(empty_url: str) -> None:
    store = Store.open(empty_url)
    with pytest.raises(StoreNotMigratedError) as caught:
        store.check_migrated()
    store.close()
    assert "chamberlain-hub migrate" in caught.value.public


def test_a_database_of_a_newer_version_is_not_touched(empty_url: str) -> None:
    store = Store.open(empty_url)
    store.migrate()
    engine = _engine(empty_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'future'"))
    engine.dispose()
    with pytest.raises(StoreNotMigratedError) as caught:
        store.check_migrated()
    store.close()
    assert "newer version" in caught.value.public


def test_the_sqlite_files_are_for_the_hub_alone(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    store.close()
    assert modes == {0o600}


def test_sqlite_commits_reach_the_disk_before_they_are_acknowledged(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}")
    with store._database.write() as connection:  # the setting itself is the promise
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    store.close()


@pytest.mark.needs_postgres
def test_a_database_that_goes_away_and_comes_back_is_a_clear_error_and_no_more() -> None:
    cluster = PrivatePostgres()
    cluster.start()
    try:
        store = Store.open(cluster.new_database())
        store.migrate()
        cluster.kill()
        with pytest.raises(StoreUnavailableError) as caught:
            store.list_identities()
        assert "Try again" in caught.value.public
    finally:
        store.close()
        cluster.stop()


def test_a_text_that_cannot_be_stored_is_the_callers_fault(store: Store) -> None:
    with pytest.raises(ValueRefusedError):
        store.add_identity("alice@example.edu", name="half \ud800")


# Identities


def test_an_identity_is_found_by_username_in_any_case_and_by_id(store: Store) -> None:
    alice = store.add_identity(" Alice@Example.EDU ", name="Alice", organization="Example")
    assert alice.username == "alice@example.edu"
    assert store.find_identity("ALICE@example.edu") == alice
    assert store.find_identity(alice.id.upper()) == alice
    assert store.identity(alice.id) == alice
    assert store.list_identities() == [alice]


@pytest.mark.parametrize("nobody", ["bob@example.edu", "no-username", "", new_id()])
def test_who_is_not_there_is_none(store: Store, nobody: str) -> None:
    assert store.find_identity(nobody) is None
    with pytest.raises(IdentityUnknownError):
        store.identity(nobody)


def test_a_username_is_taken_once(store: Store) -> None:
    store.add_identity("alice@example.edu")
    with pytest.raises(IdentityExistsError) as caught:
        store.add_identity("ALICE@example.edu")
    assert "alice@example.edu" in caught.value.public


@pytest.mark.parametrize(
    "bad", ["alice", "@example.edu", "alice@", "a b@c.d", "\u0430lice@example.edu"]
)
def test_a_username_that_could_be_mistaken_is_refused(store: Store, bad: str) -> None:
    with pytest.raises(UsernameInvalidError):
        store.add_identity(bad)
    assert store.list_identities() == []


def test_linked_identities_are_one_person_and_the_effective_one_comes_first(store: Store) -> None:
    first = store.add_identity("alice@example.edu")
    second = store.add_identity("alice@lab.example.org", link_to="alice@example.edu")
    other = store.add_identity("bob@example.edu")
    assert store.linked(first.id) == (first, second)
    assert store.linked(second.id) == (second, first)
    assert store.linked(other.id) == (other,)
    assert store.linked(new_id()) == ()


def test_an_identity_is_not_linked_to_nobody(store: Store) -> None:
    with pytest.raises(IdentityUnknownError):
        store.add_identity("alice@example.edu", link_to="bob@example.edu")
    assert store.list_identities() == []


def test_a_removed_identity_takes_its_tokens_along_and_leaves_nothing_to_its_namesake(
    store: Store,
) -> None:
    before = store.add_identity("alice@example.edu")
    _, secret = store.create_token(before.id)
    assert store.remove_identity("alice@example.edu") == before
    with pytest.raises(UnauthenticatedError):
        store.authenticate(secret, time.time())
    assert store.list_tokens() == []
    assert store.add_identity("alice@example.edu").id != before.id
    with pytest.raises(IdentityUnknownError):
        store.remove_identity("carol@example.edu")


# Tokens


def test_a_token_says_who_calls(store: Store) -> None:
    first = store.add_identity("alice@example.edu")
    second = store.add_identity("alice@lab.example.org", link_to=first.id)
    token_id, secret = store.create_token(second.id, "laptop", None)
    principal = store.authenticate(secret, time.time())
    assert principal.identity == second
    assert principal.linked == (second, first)
    assert principal.token_id == token_id


def test_a_token_is_nowhere_in_the_database(url: str, store: Store) -> None:
    alice = store.add_identity("alice@example.edu")
    _, secret = store.create_token(alice.id, "laptop", None)
    engine = _engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(tokens)).all()
    engine.dispose()
    assert secret not in repr(rows)
    assert secret.removeprefix("chp_") not in repr(rows)


@pytest.mark.parametrize(
    "token", ["", "chp_short", "Bearer x", "chp_" + "a" * 43, "chp_" + "a" * 4000, "chp_\ud800"]
)
def test_an_unknown_token_is_refused_with_the_way_to_a_new_one(store: Store, token: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        store.authenticate(token, time.time())
    assert "token create" in caught.value.public


def test_a_token_ends_at_its_expiry(store: Store) -> None:
    alice = store.add_identity("alice@example.edu")
    _, secret = store.create_token(alice.id, "", expires_at=1_000_000_000.0)
    assert store.authenticate(secret, 999_999_999.0).identity == alice
    with pytest.raises(UnauthenticatedError) as caught:
        store.authenticate(secret, 1_000_000_000.0)
    assert "expired on 2001-09-09 01:46 UTC" in caught.value.public


def test_a_revoked_token_is_worthless_and_a_second_revoke_changes_nothing(store: Store) -> None:
    alice = store.add_identity("alice@example.edu")
    token_id, secret = store.create_token(alice.id)
    store.revoke_token(token_id)
    revoked_at = store.list_tokens()[0].revoked_at
    store.revoke_token(token_id)
    assert store.list_tokens()[0].revoked_at == revoked_at
    with pytest.raises(UnauthenticatedError) as caught:
        store.authenticate(secret, time.time())
    assert "revoked" in caught.value.public
    with pytest.raises(TokenUnknownError):
        store.revoke_token(new_id())


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(store: Store) -> None:
    alice = store.add_identity("alice@example.edu")
    _, secret = store.create_token(alice.id)
    assert store.list_tokens()[0].last_used_at is None
    noted = []
    for now in (1000.0, 1059.0, 1060.0, 1061.0):
        store.authenticate(secret, now)
        noted.append(store.list_tokens()[0].last_used_at)
    assert noted == [1000.0, 1000.0, 1060.0, 1060.0]


def test_tokens_are_listed_by_owner(store: Store) -> None:
    alice, bob = (store.add_identity(f"{name}@example.edu") for name in ("alice", "bob"))
    token_id, _ = store.create_token(alice.id, "laptop", 5.0)
    store.create_token(bob.id)
    (mine,) = store.list_tokens(alice.id)
    assert (mine.id, mine.username, mine.label) == (token_id, "alice@example.edu", "laptop")
    assert len(store.list_tokens()) == 2
    with pytest.raises(IdentityUnknownError):
        store.create_token(new_id())


# Functions and groups


def test_a_function_comes_back_as_it_was(store: Store) -> None:
    function = _function(IdentityId(new_id()), description="ä", public=True, created_at=5.5)
    store.add_function(function)
    assert store.function(function.id) == function
    assert store.function(new_id()) is None


def test_own_functions_are_listed_newest_first_without_code(store: Store) -> None:
    owner = IdentityId(new_id())
    old, new, gone = (_function(owner, created_at=at) for at in (1.0, 2.0, 3.0))
    for function in (new, old, gone, _function(IdentityId(new_id()))):
        store.add_function(function)
    store.delete_function(gone.id, owner)
    listed = store.functions_of(owner, 10)
    assert listed == [replace(new, code=""), replace(old, code="")]
    assert store.functions_of(owner, 1) == listed[:1]


def test_a_deleted_function_is_unknown_but_accepted_tasks_still_find_its_code(store: Store) -> None:
    owner = IdentityId(new_id())
    function = _function(owner)
    store.add_function(function)
    with pytest.raises(FunctionNotFoundError):
        store.delete_function(function.id, new_id())
    store.delete_function(function.id, owner)
    assert store.function(function.id) is None
    assert store.function(function.id, with_deleted=True) == function
    with pytest.raises(FunctionNotFoundError):
        store.delete_function(function.id, owner)


def test_a_task_group_has_one_owner(store: Store) -> None:
    group, alice, bob = new_id(), new_id(), new_id()
    assert store.group_owner(group) is None
    store.ensure_group(group, alice)
    store.ensure_group(group, alice)
    assert store.group_owner(group) == alice
    with pytest.raises(TaskGroupNotFoundError):
        store.ensure_group(group, bob)


def test_a_task_group_that_two_make_at_once_belongs_to_one(store: Store) -> None:
    group, owners = new_id(), [new_id() for _ in range(4)]
    together = threading.Barrier(len(owners))

    def ensure(owner: str) -> bool:
        together.wait(timeout=10)
        try:
            store.ensure_group(group, owner)
        except TaskGroupNotFoundError:
            return False
        return True

    with ThreadPoolExecutor(len(owners)) as pool:
        won = list(pool.map(ensure, owners))
    assert [owner for owner, mine in zip(owners, won, strict=True) if mine] == [
        store.group_owner(group)
    ]


# Broker users


def test_broker_users_are_remembered_until_they_are_revoked(store: Store) -> None:
    from chamberlain_hub.domain.task import BrokerCredential

    principal, command = new_id(), new_id()
    entries = [
        BrokerCredential(f"uep.{principal}.{count}", "uep", principal, command, count, float(count))
        for count in (1, 2)
    ]
    for entry in entries:
        store.add_credential(entry)
        store.add_credential(entry)
    assert store.credentials("uep", principal) == entries
    assert store.credentials_all("uep") == entries
    assert store.credentials("mgr", principal) == []
    store.revoke_credential(entries[0].user)
    store.revoke_credential(entries[0].user)
    assert store.credentials_all("uep") == entries[1:]
