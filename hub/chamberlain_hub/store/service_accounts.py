"""Service accounts and the tokens they get. The database holds a SHA-256 of each secret."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain import access_token, service_account
from chamberlain_hub.domain.errors import (
    ClientRefusedError,
    ServiceAccountExistsError,
    ServiceAccountUnknownError,
)
from chamberlain_hub.domain.identity import Principal, Token
from chamberlain_hub.domain.scope import Grant
from chamberlain_hub.domain.service_account import ServiceAccount
from chamberlain_hub.store.identities import (
    as_identity,
    find_identity,
    linked_to,
    own_first,
    unknown_identity,
)
from chamberlain_hub.store.schema import identities, service_accounts, tokens
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import IdentityId, new_id

_NOBODY = "0" * 64


class ServiceAccounts(Topic):
    """Programs that prove who they are with a secret."""

    def create_service_account(
        self, name: str, public_url: str, *, link_to: str | None = None
    ) -> tuple[ServiceAccount, str]:
        """Make a service account; return it and its secret, which nobody can read again.

        Args:
            public_url: the hub's address, whose host ends the account's username.
            link_to: username or id of the identity of the person whose account this is; None:
                it stands for itself.

        Raises:
            ServiceAccountNameError: the name cannot be one.
            ServiceAccountExistsError: the name is taken.
            IdentityUnknownError: there is nobody to link to.
        """
        service_account.checked_name(name)
        client_id, now = new_id(), time.time()
        username = service_account.username(client_id, public_url)
        secret = service_account.make_secret(secrets.token_bytes(service_account.SECRET_BYTES))
        identity = {
            "id": client_id,
            "user_id": new_id(),
            "username": username,
            "name": name,
            "email": "",
            "organization": username.partition("@")[2],
            "identity_provider": "",
            "identity_provider_display_name": "service accounts",
            "status": "used",
            "created_at": now,
        }
        row = {
            "client_id": client_id,
            "name": name,
            "sha256": service_account.secret_sha256(secret),
            "created_at": now,
        }
        with self._database.write() as connection:
            if link_to is not None:
                person = find_identity(connection, link_to)
                if person is None:
                    raise unknown_identity(link_to)
                identity["user_id"] = person.user_id
            connection.execute(sa.insert(identities), identity)
            try:
                connection.execute(sa.insert(service_accounts), row)
            except IntegrityError:
                raise ServiceAccountExistsError(
                    public=f"There is already a service account {name!r}, or there was one that "
                    "was revoked: choose another name."
                ) from None
        return ServiceAccount(IdentityId(client_id), name, username, now), secret

    def list_service_accounts(self) -> list[ServiceAccount]:
        """Return all service accounts, also revoked ones, ordered by name."""
        rows = self._rows(
            sa.select(service_accounts, identities.c.username)
            .join(identities, identities.c.id == service_accounts.c.client_id)
            .order_by(service_accounts.c.name)
        )
        return [_account(row) for row in rows]

    def rotate_service_account(self, name_or_id: str) -> tuple[ServiceAccount, str]:
        """Give a service account a new secret; the old one and all its tokens are worthless.

        Raises:
            ServiceAccountUnknownError: there is none, or it was revoked.
        """
        secret = service_account.make_secret(secrets.token_bytes(service_account.SECRET_BYTES))
        sha256 = service_account.secret_sha256(secret)
        with self._database.write() as connection:
            now = time.time()
            account = _usable(connection, name_or_id)
            _change(connection, account, sha256=sha256, rotated_at=now)
            _revoke_tokens(connection, account, now)
        return account, secret

    def revoke_service_account(self, name_or_id: str) -> ServiceAccount:
        """Make a service account and all its tokens worthless, for ever.

        Its identity stays: what it owns is still its own.

        Raises:
            ServiceAccountUnknownError: there is none, or it was revoked before.
        """
        with self._database.write() as connection:
            now = time.time()
            account = _usable(connection, name_or_id)
            _change(connection, account, sha256=_NOBODY, revoked_at=now)
            _revoke_tokens(connection, account, now)
        return account

    def authenticate_client(self, client_id: str, secret: str) -> Principal:
        """Return the service account that presents `secret`.

        Raises:
            ClientRefusedError: unknown, revoked, or the secret is another one: the answer does
                not tell which.
        """
        presented = service_account.secret_sha256(secret)
        wanted = _parsed(client_id)
        row = None if wanted is None else self._row(_of(service_accounts.c.client_id == wanted))
        kept = _NOBODY if row is None or row.revoked_at is not None else row.sha256
        # Compared also when there is nobody, so that time does not tell who exists.
        if not access_token.same(kept, presented) or row is None:
            raise ClientRefusedError
        rows = self._rows(linked_to(row.client_id))
        linked = own_first((as_identity(one) for one in rows), row.client_id)
        return Principal(identity=linked[0], linked=linked, token_id="")

    def grant_tokens(
        self, client_id: str, grants: Sequence[Grant], now: float, expires_at: float
    ) -> list[str]:
        """Make a token for each of `grants`, in their order, and forget expired ones.

        Args:
            now: UTC seconds; the client authenticated at that moment.

        Raises:
            ClientRefusedError: the account was revoked in the meantime.
        """
        made = [access_token.make(secrets.token_bytes(access_token.RANDOM_BYTES)) for _ in grants]
        rows = [
            {
                "id": new_id(),
                "identity": client_id,
                "label": f"client credentials: {grant.server}",
                "sha256": access_token.sha256(token),
                "created_at": now,
                "expires_at": expires_at,
                "scope": grant.scope,
            }
            for grant, token in zip(grants, made, strict=True)
        ]
        usable = (service_accounts.c.client_id == client_id) & (
            service_accounts.c.revoked_at.is_(None)
        )
        with self._database.write() as connection:
            used = sa.update(service_accounts).where(usable).values(last_used_at=now)
            if connection.execute(used).rowcount == 0:
                raise ClientRefusedError
            connection.execute(
                sa.update(identities)
                .where(identities.c.id == client_id)
                .values(last_authentication=now)
            )
            connection.execute(
                sa.delete(tokens).where(tokens.c.identity == client_id, tokens.c.expires_at < now)
            )
            connection.execute(sa.insert(tokens), rows)
        return made

    def find_token(self, token: str) -> Token | None:
        """Return what is kept of `token`, be it good or not; None: it is none of ours."""
        if not access_token.looks_right(token):
            return None
        wanted = access_token.sha256(token)
        row = self._row(
            sa.select(tokens, identities.c.username)
            .join(identities, identities.c.id == tokens.c.identity)
            .where(tokens.c.sha256 == wanted)
        )
        if row is None or not access_token.same(row.sha256, wanted):
            return None
        return Token(
            id=row.id,
            identity=IdentityId(row.identity),
            username=row.username,
            label=row.label,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            scope=row.scope,
        )


def _of(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(service_accounts, identities.c.username)
        .join(identities, identities.c.id == service_accounts.c.client_id)
        .where(where)
    )


def _parsed(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _usable(connection: sa.Connection, name_or_id: str) -> ServiceAccount:
    by_id = _parsed(name_or_id)
    if by_id is not None:
        where = service_accounts.c.client_id == by_id
    else:
        where = service_accounts.c.name == name_or_id
    row = connection.execute(_of(where)).first()
    if row is None:
        raise ServiceAccountUnknownError(public=f"There is no service account {name_or_id[:80]!r}.")
    if row.revoked_at is not None:
        raise ServiceAccountUnknownError(
            public=f"Service account {row.name} was revoked: create another one."
        )
    return _account(row)


def _change(connection: sa.Connection, account: ServiceAccount, **values: object) -> None:
    connection.execute(
        sa.update(service_accounts)
        .where(service_accounts.c.client_id == account.client_id)
        .values(**values)
    )


def _revoke_tokens(connection: sa.Connection, account: ServiceAccount, now: float) -> None:
    connection.execute(
        sa.update(tokens)
        .where(tokens.c.identity == account.client_id, tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def _account(row: Any) -> ServiceAccount:
    return ServiceAccount(
        client_id=IdentityId(row.client_id),
        name=row.name,
        username=row.username,
        created_at=row.created_at,
        rotated_at=row.rotated_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
