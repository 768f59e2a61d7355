"""Tasks from submit to their state on the way; `results.py` is how they end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain.errors import TaskIdTakenError
from chamberlain_hub.domain.task import NewTask, TaskRow
from chamberlain_hub.store.database import chunks
from chamberlain_hub.store.schema import payloads, results, tasks
from chamberlain_hub.store.topic import Topic
from chamberlain_wire import codec
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, TaskId
from chamberlain_wire.messages import Result
from chamberlain_wire.states import ENDED, TaskState, moves_to

# Between store and publish there is a moment; the sweep must not publish a second time in it.
_UNPUBLISHED_AFTER_S: Final = 1.0
_NO_TEXT: Final = sa.null().label("text")


class Tasks(Topic):
    """Tasks that are open, and looking up any."""

    def add_tasks(
        self,
        owner: IdentityId,
        endpoint: EndpointId,
        user_endpoint: EndpointId,
        group: TaskGroupId,
        new: Sequence[NewTask],
        at: float,
    ) -> frozenset[TaskId]:
        """Store tasks, all or none, and return the ids of those that were not known yet.

        A task that the same owner submitted before is left as it is: a repeat is harmless.

        Args:
            at: UTC seconds.

        Raises:
            TaskIdTakenError: an id belongs to another identity's task.
        """
        try:
            return self._add(owner, endpoint, user_endpoint, group, new, at)
        except IntegrityError:
            # Another hub stored one of them since we looked; now we see whose it is.
            return self._add(owner, endpoint, user_endpoint, group, new, at)

    def _add(
        self,
        owner: IdentityId,
        endpoint: EndpointId,
        user_endpoint: EndpointId,
        group: TaskGroupId,
        new: Sequence[NewTask],
        at: float,
    ) -> frozenset[TaskId]:
        with self._database.write() as connection:
            known = _owners(connection, [task.id for task in new])
            if any(whose != owner for whose in known.values()):
                raise TaskIdTakenError
            fresh = {task.id: task for task in new if task.id not in known}
            if fresh:
                common = {
                    "group": group,
                    "endpoint": endpoint,
                    "user_endpoint": user_endpoint,
                    "owner": owner,
                    "state": TaskState.RECEIVED.value,
                    "submitted_at": at,
                }
                rows = [
                    {
                        "id": task.id,
                        "function": task.function,
                        "resources": task.resources,
                        "serializers": task.serializers,
                        **common,
                    }
                    for task in fresh.values()
                ]
                texts = [{"task": task.id, "payload": task.payload} for task in fresh.values()]
                connection.execute(sa.insert(tasks), rows)
                connection.execute(sa.insert(payloads), texts)
        return frozenset(fresh)

    def mark_published(self, ids: Iterable[str], at: float) -> None:
        """Remember that the broker confirmed these tasks. A repeat changes nothing."""
        waiting = TaskState.WAITING_FOR_ENDPOINT.value
        state = sa.case((tasks.c.state == TaskState.RECEIVED.value, waiting), else_=tasks.c.state)
        with self._database.write() as connection:
            for part in chunks(locked(connection, ids)):
                connection.execute(
                    sa.update(tasks)
                    .where(tasks.c.id.in_(part), tasks.c.published_at.is_(None))
                    .values(published_at=at, state=state)
                )

    def unpublished(self, limit: int, *, now: float | None = None) -> list[TaskRow]:
        """Return open tasks, payloads included, that wait for a second or more for the
        broker's confirmation; oldest first.
        """
        before = (time.time() if now is None else now) - _UNPUBLISHED_AFTER_S
        statement = (
            sa.select(tasks, payloads.c.payload, _NO_TEXT.label("body"))
            .join(payloads, payloads.c.task == tasks.c.id)
            .where(
                tasks.c.published_at.is_(None),
                tasks.c.completed_at.is_(None),
                tasks.c.submitted_at <= before,
            )
            .order_by(tasks.c.submitted_at, tasks.c.id)
            .limit(limit)
        )
        return [_as_task(row) for row in self._rows(statement)]

    def open_with_payloads(self, ids: Iterable[str]) -> list[TaskRow]:
        """Return those of `ids` that did not end, payloads included."""
        return [
            _as_task(row)
            for part in chunks(ids)
            for row in self._rows(
                sa.select(tasks, payloads.c.payload, _NO_TEXT.label("body"))
                .join(payloads, payloads.c.task == tasks.c.id)
                .where(tasks.c.id.in_(part), tasks.c.completed_at.is_(None))
            )
        ]

    def task(self, task_id: str) -> TaskRow | None:
        """Return a task with its result, without its payload."""
        found = self.tasks([task_id])
        return found[0] if found else None

    def tasks(self, ids: Iterable[str]) -> list[TaskRow]:
        """Return those of `ids` that exist, with their results, without payloads."""
        return [
            _as_task(row)
            for part in chunks(ids)
            for row in self._rows(_with_results(tasks.c.id.in_(part)))
        ]

    def tasks_of(self, owner: str, limit: int, state: TaskState | None = None) -> list[TaskRow]:
        """Return the newest tasks of an identity with their usage, without payloads and results.

        Args:
            state: only tasks in this state; None: all.
        """
        statement = (
            sa.select(tasks, _NO_TEXT.label("payload"), _NO_TEXT.label("body"), results.c.usage)
            .outerjoin(results, results.c.task == tasks.c.id)
            .where(tasks.c.owner == owner)
            .order_by(tasks.c.submitted_at.desc(), tasks.c.id)
            .limit(limit)
        )
        if state is not None:
            statement = statement.where(tasks.c.state == state.value)
        return [_as_task(row) for row in self._rows(statement)]

    def group_tasks(self, group: str) -> list[TaskId]:
        """Return the ids of a task group's tasks in the order of their submit."""
        statement = (
            sa.select(tasks.c.id)
            .where(tasks.c.group == group)
            .order_by(tasks.c.submitted_at, tasks.c.id)
        )
        return [TaskId(row.id) for row in self._rows(statement)]

    def open_tasks(self, user_endpoint: str) -> list[TaskId]:
        """Return the ids of a user endpoint's tasks that did not end, oldest first."""
        statement = (
            sa.select(tasks.c.id)
            .where(tasks.c.user_endpoint == user_endpoint, tasks.c.completed_at.is_(None))
            .order_by(tasks.c.submitted_at, tasks.c.id)
        )
        return [TaskId(row.id) for row in self._rows(statement)]

    def open_published(self, user_endpoint: str, before: float) -> list[TaskId]:
        """Return those that did not end and were in the broker before `before` (UTC seconds)."""
        statement = sa.select(tasks.c.id).where(
            tasks.c.user_endpoint == user_endpoint,
            tasks.c.completed_at.is_(None),
            tasks.c.published_at < before,
        )
        return [TaskId(row.id) for row in self._rows(statement)]

    def note_states(self, user_endpoint: str, seen: Mapping[str, TaskState]) -> None:
        """Move tasks to the states that their user endpoint reports.

        Tasks only move forward; reports of an end, of another's task, or that come late
        change nothing (only a result ends a task).
        """
        moves = [
            (state, [task for task, reported in seen.items() if reported is state])
            for state in TaskState
            if state not in ENDED and state in seen.values()
        ]
        if not moves:
            return
        with self._database.write() as connection:
            known = set(locked(connection, seen))
            for state, ids in moves:
                earlier = [now.value for now in TaskState if moves_to(now, state)]
                for part in chunks(sorted(known.intersection(ids))):
                    connection.execute(
                        sa.update(tasks)
                        .where(
                            tasks.c.id.in_(part),
                            tasks.c.user_endpoint == user_endpoint,
                            tasks.c.state.in_(earlier),
                        )
                        .values(state=state.value)
                    )


def locked(connection: sa.Connection, ids: Iterable[str]) -> list[str]:
    """Return those of `ids` that exist, in order, and keep other hubs away from them.

    Always in order of id, so that two hubs with overlapping batches wait instead of
    deadlocking.
    """
    return [
        row.id
        for part in chunks(sorted(ids))
        for row in connection.execute(
            sa.select(tasks.c.id).where(tasks.c.id.in_(part)).order_by(tasks.c.id).with_for_update()
        )
    ]


def _owners(connection: sa.Connection, ids: Sequence[TaskId]) -> dict[str, str]:
    return {
        row.id: row.owner
        for part in chunks(ids)
        for row in connection.execute(
            sa.select(tasks.c.id, tasks.c.owner).where(tasks.c.id.in_(part))
        )
    }


def _with_results(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(tasks, _NO_TEXT.label("payload"), results.c.body)
        .outerjoin(results, results.c.task == tasks.c.id)
        .where(where)
    )


def _as_task(row: sa.Row[Any]) -> TaskRow:
    fields = {column.name: getattr(row, column.name) for column in tasks.c}
    fields["state"] = TaskState(row.state)
    fields["serializers"] = None if row.serializers is None else tuple(row.serializers)
    return TaskRow(
        **fields,
        payload=row.payload,
        result=None if row.body is None else codec.decode(bytes(row.body), Result),
        usage=getattr(row, "usage", None),
    )
