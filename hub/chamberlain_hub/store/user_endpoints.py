"""User endpoints: what was asked of them, and what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import UserEndpointEvent, is_stale, is_unclean, move
from chamberlain_hub.domain.errors import EndpointNotFoundError
from chamberlain_hub.store.schema import tasks, user_endpoints
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.errors import IllegalMoveError
from chamberlain_wire.states import UserEndpointState

_FIELDS: Final = tuple(column.name for column in user_endpoints.c)


class UserEndpoints(Topic):
    """User endpoints and their life."""

    def ensure_user_endpoint(self, wanted: UserEndpoint) -> UserEndpoint:
        """Return the user endpoint with the id of `wanted`, which is stored if it is new."""
        known = self.user_endpoint(wanted.id)
        if known is not None:
            return known
        values = {name: getattr(wanted, name) for name in _FIELDS}
        statement = self._database.insert(user_endpoints).values(values)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())
            row = connection.execute(_by_id(wanted.id)).one()
        return _as_user_endpoint(row)

    def user_endpoint(self, user_endpoint_id: str) -> UserEndpoint | None:
        """Return a user endpoint."""
        row = self._row(_by_id(user_endpoint_id))
        return None if row is None else _as_user_endpoint(row)

    def user_endpoints_of(self, endpoint_id: str) -> list[UserEndpoint]:
        """Return all user endpoints of an endpoint, oldest first."""
        return self._user_endpoint_list(user_endpoints.c.endpoint == endpoint_id)

    def with_open_tasks(self) -> list[UserEndpoint]:
        """Return the user endpoints that have a task which did not end."""
        open_task = sa.select(sa.literal(1)).where(
            tasks.c.user_endpoint == user_endpoints.c.id, tasks.c.completed_at.is_(None)
        )
        return self._user_endpoint_list(open_task.exists())

    def note_asked(self, user_endpoint_id: str, command: str, at: float) -> int:
        """Remember that start `command` is being asked for, before it is sent.

        Returns:
            The new generation, which names the broker user of this start.

        Raises:
            EndpointNotFoundError: there is no such user endpoint.
        """
        with self._database.write() as connection:
            before = _locked(connection, user_endpoint_id)
            generation = before.generation + 1
            values = {
                "command": command,
                "generation": generation,
                "asked_at": at,
                "error_code": "",
                "error_message": "",
            }
            state = move(before.state, UserEndpointEvent.ASKED)
            _moved(connection, before, state, at, values)
        return generation

    def move_user_endpoint(
        self,
        user_endpoint_id: str,
        event: UserEndpointEvent,
        *,
        command: str | None = None,
        code: str = "",
        message: str = "",
        at: float,
    ) -> UserEndpoint:
        """Apply a report, and return what is stored then.

        A report that is stale, late or a repeat changes nothing.

        Args:
            command: the start that the report is about; None: not checked.
            code: word of the error, for refusals and failures.
            message: sentence for the caller that belongs to it.
            at: UTC seconds.

        Raises:
            EndpointNotFoundError: there is no such user endpoint.
        """
        with self._database.write() as connection:
            before = _locked(connection, user_endpoint_id)
            if is_stale(before, command, event):
                return before
            try:
                state = move(before.state, event)
            except IllegalMoveError:
                return before
            values: dict[str, Any] = {"error_code": code, "error_message": message}
            if is_unclean(event):
                values["failures"] = before.failures + 1
            return _moved(connection, before, state, at, values)

    def note_heartbeat(
        self, user_endpoint_id: str, at: float, period_s: float, state: dict[str, Any]
    ) -> UserEndpoint:
        """Remember a heartbeat, and return what is stored then.

        Args:
            at: UTC seconds.
            period_s: when to expect the next; 0: it says that it leaves.

        Raises:
            EndpointNotFoundError: there is no such user endpoint. Drop the heartbeat.
        """
        event = UserEndpointEvent.HEARTBEAT if period_s > 0 else UserEndpointEvent.LEAVING
        with self._database.write() as connection:
            before = _locked(connection, user_endpoint_id)
            values: dict[str, Any] = {"last_heartbeat_at": at, "last_state": state}
            if period_s > 0:
                values.update(heartbeat_period_s=period_s, error_code="", error_message="")
            try:
                after = move(before.state, event)
            except IllegalMoveError:
                after = before.state
            return _moved(connection, before, after, at, values)

    def _user_endpoint_list(self, where: sa.ColumnElement[bool]) -> list[UserEndpoint]:
        statement = (
            sa.select(user_endpoints)
            .where(where)
            .order_by(user_endpoints.c.created_at, user_endpoints.c.id)
        )
        return [_as_user_endpoint(row) for row in self._rows(statement)]


def _by_id(user_endpoint_id: str) -> sa.Select[Any]:
    return sa.select(user_endpoints).where(user_endpoints.c.id == user_endpoint_id)


def _locked(connection: sa.Connection, user_endpoint_id: str) -> UserEndpoint:
    row = connection.execute(_by_id(user_endpoint_id).with_for_update()).first()
    if row is None:
        raise EndpointNotFoundError(public=f"There is no user endpoint {user_endpoint_id[:80]}.")
    return _as_user_endpoint(row)


def _moved(
    connection: sa.Connection,
    before: UserEndpoint,
    state: UserEndpointState,
    at: float,
    values: dict[str, Any],
) -> UserEndpoint:
    if state is not before.state:
        values = {**values, "state": state, "moved_at": at}
    connection.execute(
        sa.update(user_endpoints).where(user_endpoints.c.id == before.id).values(values)
    )
    return replace(before, **values)


def _as_user_endpoint(row: sa.Row[Any]) -> UserEndpoint:
    fields = {name: getattr(row, name) for name in _FIELDS}
    fields["state"] = UserEndpointState(fields["state"])
    return UserEndpoint(**fields)
