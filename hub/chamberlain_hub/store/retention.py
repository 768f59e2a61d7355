"""What is old, and its removal: a bounded number of rows at a time."""

from __future__ import annotations

import sqlalchemy as sa

from chamberlain_hub.store.database import CHUNK
from chamberlain_hub.store.schema import (
    cancellations,
    payloads,
    results,
    task_groups,
    tasks,
    user_endpoints,
)
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import EndpointId, TaskId
from chamberlain_wire.states import UserEndpointState

_OVER = tuple(
    state.value
    for state in (UserEndpointState.GONE, UserEndpointState.REFUSED, UserEndpointState.FAILED)
)


class Retention(Topic):
    """Old tasks, task groups and user endpoints. Each call is one short transaction."""

    def idle_tasks(self, before: float) -> list[tuple[EndpointId, TaskId]]:
        """Return some open tasks that were submitted before `before` (UTC seconds), oldest
        first, with the user endpoint that each is for."""
        statement = (
            sa.select(tasks.c.user_endpoint, tasks.c.id)
            .where(tasks.c.completed_at.is_(None), tasks.c.submitted_at < before)
            .order_by(tasks.c.submitted_at, tasks.c.id)
            .limit(CHUNK)
        )
        return [(EndpointId(row.user_endpoint), TaskId(row.id)) for row in self._rows(statement)]

    def forget_tasks(self, before: float) -> int:
        """Remove some tasks that ended before `before`, with their results; return how many."""
        old = (
            sa.select(tasks.c.id)
            .where(tasks.c.completed_at.is_not(None), tasks.c.completed_at < before)
            .order_by(tasks.c.completed_at)
            .limit(CHUNK)
        )
        with self._database.write() as connection:
            ids = [row.id for row in connection.execute(old)]
            if ids:
                connection.execute(sa.delete(results).where(results.c.task.in_(ids)))
                connection.execute(sa.delete(payloads).where(payloads.c.task.in_(ids)))
                connection.execute(sa.delete(cancellations).where(cancellations.c.task.in_(ids)))
                connection.execute(sa.delete(tasks).where(tasks.c.id.in_(ids)))
        return len(ids)

    def forget_groups(self, before: float) -> int:
        """Remove some task groups made before `before` that have no task; return how many."""
        has_tasks = sa.exists().where(tasks.c.group == task_groups.c.id)
        old = (
            sa.select(task_groups.c.id)
            .where(task_groups.c.created_at < before, ~has_tasks)
            .limit(CHUNK)
        )
        with self._database.write() as connection:
            ids = [row.id for row in connection.execute(old)]
            if ids:
                connection.execute(sa.delete(task_groups).where(task_groups.c.id.in_(ids)))
        return len(ids)

    def forget_user_endpoints(self, before: float) -> list[EndpointId]:
        """Remove some user endpoints that are over since before `before` and have no open
        task; return their ids, whose queues are to be deleted."""
        has_open = sa.exists().where(
            tasks.c.user_endpoint == user_endpoints.c.id, tasks.c.completed_at.is_(None)
        )
        since = sa.func.coalesce(
            user_endpoints.c.moved_at, user_endpoints.c.asked_at, user_endpoints.c.created_at
        )
        old = (
            sa.select(user_endpoints.c.id)
            .where(user_endpoints.c.state.in_(_OVER), since < before, ~has_open)
            .limit(CHUNK)
        )
        with self._database.write() as connection:
            ids = [EndpointId(row.id) for row in connection.execute(old)]
            if ids:
                connection.execute(sa.delete(user_endpoints).where(user_endpoints.c.id.in_(ids)))
        return ids
