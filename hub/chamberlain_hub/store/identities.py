"""Identities: who may call the hub."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain.errors import (
    IdentityExistsError,
    IdentityUnknownError,
    UsernameInvalidError,
)
from chamberlain_hub.domain.identity import Identity, canonical_username
from chamberlain_hub.store.schema import identities
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import IdentityId, new_id


class Identities(Topic):
    """Identities and their links."""

    def add_identity(
        self,
        username: str,
        name: str = "",
        email: str = "",
        organization: str = "",
        *,
        link_to: str | None = None,
    ) -> Identity:
        """Make an identity and return it.

        Args:
            link_to: username or id of another identity of the same person; None: a new
                person.

        Raises:
            UsernameInvalidError: not of the form `name@domain`.
            IdentityExistsError: the username is taken.
            IdentityUnknownError: there is nobody to link to.
        """
        canonical = canonical_username(username)
        with self._database.write() as connection:
            user_id = new_id()
            if link_to is not None:
                other = find_identity(connection, link_to)
                if other is None:
                    raise unknown_identity(link_to)
                user_id = other.user_id
            identity = Identity(
                id=IdentityId(new_id()),
                user_id=user_id,
                username=canonical,
                name=name or canonical.partition("@")[0],
                email=email or canonical,
                organization=organization or canonical.partition("@")[2],
                created_at=time.time(),
            )
            values = {column.name: getattr(identity, column.name) for column in identities.c}
            try:
                connection.execute(sa.insert(identities), values)
            except IntegrityError:
                raise IdentityExistsError(
                    public=f"There is already an identity {canonical}."
                ) from None
        return identity

    def find_identity(self, username_or_id: str) -> Identity | None:
        """Return the identity with this username or id."""
        with self._database.read() as connection:
            return find_identity(connection, username_or_id)

    def identity(self, username_or_id: str) -> Identity:
        """Return the identity with this username or id.

        Raises:
            IdentityUnknownError: there is none.
        """
        found = self.find_identity(username_or_id)
        if found is None:
            raise unknown_identity(username_or_id)
        return found

    def linked(self, identity_id: str) -> tuple[Identity, ...]:
        """Return all identities of the person behind `identity_id`, that one first.

        Empty when there is no such identity.
        """
        rows = self._rows(linked_to(identity_id))
        return own_first((as_identity(row) for row in rows), identity_id)

    def list_identities(self) -> list[Identity]:
        """Return all identities, ordered by username."""
        rows = self._rows(sa.select(identities).order_by(identities.c.username))
        return [as_identity(row) for row in rows]

    def remove_identity(self, username: str) -> Identity:
        """Remove an identity and its tokens, and return what it was.

        Its tasks and functions stay, owned by nobody: the same username added again is
        another identity and does not inherit them.

        Raises:
            IdentityUnknownError: there is no such identity.
        """
        with self._database.write() as connection:
            identity = find_identity(connection, username)
            if identity is None:
                raise unknown_identity(username)
            connection.execute(sa.delete(identities).where(identities.c.id == identity.id))
        return identity


def unknown_identity(username_or_id: str) -> IdentityUnknownError:
    """Return the error that names who was asked for."""
    return IdentityUnknownError(public=f"There is no identity {username_or_id[:80]!r}.")


def as_identity(row: Any) -> Identity:
    """Return the record of a row with the columns of `identities`."""
    return Identity(**{column.name: getattr(row, column.name) for column in identities.c})


def own_first(entries: Iterable[Identity], identity_id: str) -> tuple[Identity, ...]:
    """Return `entries` with the one that has `identity_id` in front."""
    return tuple(sorted(entries, key=lambda entry: entry.id != identity_id))


def linked_to(identity_id: str) -> sa.Select[Any]:
    """Return the query for all identities of the person behind `identity_id`."""
    me = sa.select(identities.c.user_id).where(identities.c.id == identity_id)
    return (
        sa.select(identities)
        .where(identities.c.user_id == me.scalar_subquery())
        .order_by(identities.c.created_at, identities.c.id)
    )


def find_identity(connection: sa.Connection, username_or_id: str) -> Identity | None:
    """Return the identity with this username or id, read in a transaction that goes on."""
    try:
        where = identities.c.id == str(uuid.UUID(username_or_id))
    except ValueError:
        try:
            where = identities.c.username == canonical_username(username_or_id)
        except UsernameInvalidError:
            return None
    row = connection.execute(sa.select(identities).where(where)).first()
    return None if row is None else as_identity(row)
