"""Access tokens. The database holds a SHA-256 of each, never the token."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain.access_token import RANDOM_BYTES, looks_right, make, same, sha256
from chamberlain_hub.domain.errors import (
    StoreUnavailableError,
    TokenUnknownError,
    UnauthenticatedError,
)
from chamberlain_hub.domain.identity import Principal, Token
from chamberlain_hub.store.identities import as_identity, own_first, unknown_identity
from chamberlain_hub.store.schema import identities, tokens
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import IdentityId, new_id

_NOTE_USE_EVERY_S: Final = 60.0

_me = identities.alias("me")
# One read: the token by the index of its hash, and all identities of its owner.
_AUTHENTICATE: Final = (
    sa.select(
        identities,
        tokens.c.id.label("token_id"),
        tokens.c.identity.label("token_identity"),
        tokens.c.sha256,
        tokens.c.expires_at,
        tokens.c.revoked_at,
        tokens.c.last_used_at,
        tokens.c.scope,
    )
    .select_from(tokens)
    .join(_me, _me.c.id == tokens.c.identity)
    .join(identities, identities.c.user_id == _me.c.user_id)
    .where(tokens.c.sha256 == sa.bindparam("wanted"))
    .order_by(identities.c.created_at, identities.c.id)
)

_HOW_TO_GET_ONE: Final = (
    "Ask the hub's administrator for a new one (chamberlain-hub token create USERNAME)."
)


class Tokens(Topic):
    """Access tokens."""

    def create_token(
        self, identity_id: str, label: str = "", expires_at: float | None = None
    ) -> tuple[str, str]:
        """Make a token and return its id and the token itself, which nobody can read again.

        Args:
            expires_at: UTC seconds; None: never.

        Raises:
            IdentityUnknownError: there is no such identity.
        """
        secret, token_id = make(secrets.token_bytes(RANDOM_BYTES)), new_id()
        row = {
            "id": token_id,
            "identity": identity_id,
            "label": label,
            "sha256": sha256(secret),
            "created_at": time.time(),
            "expires_at": expires_at,
        }
        with self._database.write() as connection:
            try:
                connection.execute(sa.insert(tokens), row)
            except IntegrityError:
                raise unknown_identity(identity_id) from None
        return token_id, secret

    def authenticate(self, token: str, now: float) -> Principal:
        """Return who presents `token` at `now` (UTC seconds).

        Raises:
            UnauthenticatedError: unknown, expired or revoked; `public` says what to do.
        """
        if not looks_right(token):
            raise UnauthenticatedError(
                public=f"This is not an access token of this hub. {_HOW_TO_GET_ONE}"
            )
        wanted = sha256(token)
        with self._database.read() as connection:
            rows = connection.execute(_AUTHENTICATE, {"wanted": wanted}).all()
        if not rows or not same(rows[0].sha256, wanted):
            raise UnauthenticatedError(
                public=f"The access token is not known to this hub. {_HOW_TO_GET_ONE}"
            )
        _check_good(rows[0], now)
        principal = _principal(rows)
        last_used_at = rows[0].last_used_at
        if last_used_at is None or now - last_used_at >= _NOTE_USE_EVERY_S:
            # A database that is busy writing must not keep callers out.
            with contextlib.suppress(StoreUnavailableError):
                self._note_used(principal.token_id, now)
        return principal

    def list_tokens(self, identity_id: str | None = None) -> list[Token]:
        """Return the tokens of one identity, or all; newest first."""
        statement = (
            sa.select(tokens, identities.c.username)
            .join(identities, identities.c.id == tokens.c.identity)
            .order_by(tokens.c.created_at.desc(), tokens.c.id)
        )
        if identity_id is not None:
            statement = statement.where(tokens.c.identity == identity_id)
        return [
            Token(
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
            for row in self._rows(statement)
        ]

    def revoke_token(self, token_id: str) -> None:
        """Make a token worthless from now on. A repeat changes nothing.

        Raises:
            TokenUnknownError: there is no token with this id.
        """
        revoked_at = sa.func.coalesce(tokens.c.revoked_at, time.time())
        with self._database.write() as connection:
            done = connection.execute(
                sa.update(tokens).where(tokens.c.id == token_id).values(revoked_at=revoked_at)
            )
            if done.rowcount == 0:
                raise TokenUnknownError(public=f"There is no token with id {token_id[:80]!r}.")

    def _note_used(self, token_id: str, now: float) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(tokens).where(tokens.c.id == token_id).values(last_used_at=now)
            )


def _check_good(row: Any, now: float) -> None:
    if row.revoked_at is not None:
        raise UnauthenticatedError(public=f"The access token was revoked. {_HOW_TO_GET_ONE}")
    if row.expires_at is not None and now >= row.expires_at:
        ended = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row.expires_at))
        raise UnauthenticatedError(public=f"The access token expired on {ended}. {_HOW_TO_GET_ONE}")


def _principal(rows: Any) -> Principal:
    linked = own_first((as_identity(row) for row in rows), rows[0].token_identity)
    row = rows[0]
    return Principal(identity=linked[0], linked=linked, token_id=row.token_id, scope=row.scope)
