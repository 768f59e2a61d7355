"""Endpoints that administrators registered."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa

from chamberlain_hub.domain.endpoint import Endpoint
from chamberlain_hub.domain.errors import EndpointNotFoundError, ForbiddenError
from chamberlain_hub.store.schema import endpoints, user_endpoints
from chamberlain_hub.store.topic import Topic

_FIELDS: Final = tuple(column.name for column in endpoints.c)
# What a registration says; the rest is what the hub has seen since.
_REGISTERED: Final = (
    "name",
    "display_name",
    "multi_user",
    "public",
    "metadata",
    "schema",
    "template",
    "allowed_functions",
    "authentication_policy",
    "subscription",
    "high_assurance",
    "admins",
)


class Endpoints(Topic):
    """Endpoints, their registration and their heartbeat."""

    def put_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Register `endpoint`, or register it again, and return what is stored now.

        Registering again keeps its heartbeat, its lock and the time it was made.

        Raises:
            ForbiddenError: the id is another identity's endpoint.
        """
        values = {name: getattr(endpoint, name) for name in _FIELDS}
        statement = self._database.insert(endpoints).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=[endpoints.c.id],
            set_={name: getattr(statement.excluded, name) for name in _REGISTERED},
            where=endpoints.c.owner == endpoint.owner,
        )
        with self._database.write() as connection:
            row = connection.execute(statement.returning(endpoints)).first()
            if row is None:
                raise ForbiddenError(
                    public=(
                        f"Endpoint {endpoint.id} is registered by another identity. Use the "
                        "token of its owner, or configure a new endpoint."
                    )
                )
        return _as_endpoint(row)

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint."""
        row = self._row(_by_id(endpoint_id))
        return None if row is None else _as_endpoint(row)

    def endpoints_of(self, owners: Collection[str]) -> list[Endpoint]:
        """Return what these identities registered, ordered by name."""
        return self._endpoint_list(endpoints.c.owner.in_(list(owners)))

    def endpoints_visible(self, identities: Collection[str]) -> list[Endpoint]:
        """Return what these identities may find in a list: public, owned or managed."""
        mine = endpoints.c.owner.in_(list(identities))
        # The admins are a JSON list of UUIDs, so a quoted id matches itself only.
        managed = [
            endpoints.c.admins.cast(sa.Text).contains(f'"{identity}"', autoescape=True)
            for identity in identities
        ]
        return self._endpoint_list(sa.or_(endpoints.c.public, mine, *managed))

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint and its user endpoints. Their tasks stay readable.

        Raises:
            EndpointNotFoundError: there is none.
        """
        with self._database.write() as connection:
            done = connection.execute(sa.delete(endpoints).where(endpoints.c.id == endpoint_id))
            if done.rowcount == 0:
                raise _unknown(endpoint_id)
            connection.execute(
                sa.delete(user_endpoints).where(user_endpoints.c.endpoint == endpoint_id)
            )

    def note_endpoint_heartbeat(
        self, endpoint_id: str, at: float, period_s: float, state: dict[str, Any]
    ) -> None:
        """Remember a manager's heartbeat. No effect when the endpoint is unknown or was
        heard of later than `at`.
        """
        last = endpoints.c.last_heartbeat_at
        with self._database.write() as connection:
            connection.execute(
                sa.update(endpoints)
                .where(endpoints.c.id == endpoint_id, sa.or_(last.is_(None), last <= at))
                .values(last_heartbeat_at=at, heartbeat_period_s=period_s, last_state=state)
            )

    def lock_endpoint(self, endpoint_id: str, until: float) -> None:
        """Refuse registrations and submits of an endpoint until `until` (UTC seconds).

        Raises:
            EndpointNotFoundError: there is none.
        """
        with self._database.write() as connection:
            done = connection.execute(
                sa.update(endpoints).where(endpoints.c.id == endpoint_id).values(locked_until=until)
            )
            if done.rowcount == 0:
                raise _unknown(endpoint_id)

    def _endpoint_list(self, where: sa.ColumnElement[bool]) -> list[Endpoint]:
        statement = sa.select(endpoints).where(where).order_by(endpoints.c.name, endpoints.c.id)
        return [_as_endpoint(row) for row in self._rows(statement)]


def _unknown(endpoint_id: str) -> EndpointNotFoundError:
    return EndpointNotFoundError(public=f"There is no endpoint {endpoint_id[:80]}.")


def _by_id(endpoint_id: str) -> sa.Select[Any]:
    return sa.select(endpoints).where(endpoints.c.id == endpoint_id)


def _as_endpoint(row: sa.Row[Any]) -> Endpoint:
    fields = {name: getattr(row, name) for name in _FIELDS}
    fields["admins"] = tuple(fields["admins"])
    if fields["allowed_functions"] is not None:
        fields["allowed_functions"] = tuple(fields["allowed_functions"])
    return Endpoint(**fields)
