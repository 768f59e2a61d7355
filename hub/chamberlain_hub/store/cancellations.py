"""How tasks are cancelled: ended at once, with a note of what is still to be told to whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from chamberlain_hub.domain.task import Cancellation, CancelledTask
from chamberlain_hub.store.database import chunks
from chamberlain_hub.store.schema import cancellations, payloads, results, tasks
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, TaskId
from chamberlain_wire.states import CancelOutcome, TaskState

_FACTS: Final[sa.Select[Any]] = sa.select(
    tasks.c.id,
    tasks.c.group,
    tasks.c.owner,
    tasks.c.user_endpoint,
    tasks.c.state,
    tasks.c.completed_at,
)
MOST_AT_ONCE: Final = 1000


class Cancellations(Topic):
    """Cancelled tasks, and what became of them on site."""

    def cancel(
        self,
        ids: Iterable[str],
        owners: Collection[str],
        body: Callable[[TaskId], bytes],
        at: float,
    ) -> dict[TaskId, CancelledTask]:
        """End those of `ids` that belong to `owners` and are open; return all that belong to them.

        From here on no result changes them: whichever of the two comes first, stays.

        Args:
            body: makes the result message that a cancelled task is given.
            at: UTC seconds.
        """
        with self._database.write() as connection:
            rows = [row for row in _locked(connection, set(ids)) if row.owner in owners]
            doomed = [row for row in rows if row.completed_at is None]
            bodies = {row.id: body(TaskId(row.id)) for row in doomed}
            _end(connection, doomed, bodies, at)
        return {TaskId(row.id): _cancelled(row, bodies.get(row.id)) for row in rows}

    def untold_cancels(self, *, before: float) -> list[CancelledTask]:
        """Return cancelled tasks whose callers may not know yet; the oldest first, some of them.

        Args:
            before: only those that were cancelled earlier than this.
        """
        statement = (
            _FACTS.add_columns(results.c.body)
            .join(cancellations, cancellations.c.task == tasks.c.id)
            .join(results, results.c.task == tasks.c.id)
            .where(cancellations.c.told_at.is_(None), cancellations.c.asked_at < before)
            .order_by(cancellations.c.asked_at)
            .limit(MOST_AT_ONCE)
        )
        return [_cancelled(row, bytes(row.body)) for row in self._rows(statement)]

    def note_cancels_told(self, ids: Iterable[str], at: float) -> None:
        """Remember that the broker has what is for the callers of these tasks."""
        self._note(ids, told_at=at)

    def note_cancels_sent(self, ids: Iterable[str], at: float) -> None:
        """Remember that the broker has the orders to end these tasks."""
        self._note(ids, sent_at=at)

    def unsent_cancels(self, *, before: float) -> dict[EndpointId, list[TaskId]]:
        """Return cancelled tasks whose user endpoints were not told; some of them.

        Args:
            before: only those that were cancelled earlier than this.
        """
        found: dict[EndpointId, list[TaskId]] = {}
        for row in self._rows(
            sa.select(cancellations.c.task, cancellations.c.user_endpoint)
            .where(
                cancellations.c.closed_at.is_(None),
                cancellations.c.sent_at.is_(None),
                cancellations.c.asked_at < before,
            )
            .order_by(cancellations.c.asked_at.desc())
            .limit(MOST_AT_ONCE)
        ):
            found.setdefault(EndpointId(row.user_endpoint), []).append(TaskId(row.task))
        return found

    def open_cancels(self, user_endpoint: str) -> list[TaskId]:
        """Return the cancelled tasks of which a user endpoint has not said what became."""
        statement = (
            sa.select(cancellations.c.task)
            .where(
                cancellations.c.user_endpoint == user_endpoint,
                cancellations.c.closed_at.is_(None),
            )
            .order_by(cancellations.c.task)
        )
        return [TaskId(row.task) for row in self._rows(statement)]

    def close_cancels(self, outcomes: Mapping[TaskId, CancelOutcome], at: float) -> list[TaskId]:
        """Remember what became of cancelled tasks; the first word of each stays.

        Returns:
            Those that were cancelled and had no outcome yet.
        """
        closed: list[TaskId] = []
        with self._database.write() as connection:
            for part in chunks(sorted(outcomes)):
                rows = connection.execute(
                    sa.select(cancellations.c.task)
                    .where(cancellations.c.task.in_(part), cancellations.c.closed_at.is_(None))
                    .order_by(cancellations.c.task)
                    .with_for_update()
                ).all()
                closed.extend(TaskId(row.task) for row in rows)
            for outcome in CancelOutcome:
                for part in chunks(one for one in closed if outcomes[one] is outcome):
                    connection.execute(
                        sa.update(cancellations)
                        .where(cancellations.c.task.in_(part))
                        .values(closed_at=at, outcome=outcome.value)
                    )
        return closed

    def cancellations(self, ids: Iterable[str]) -> dict[TaskId, Cancellation]:
        """Return what is known of those of `ids` that were cancelled."""
        return {
            TaskId(row.task): Cancellation(
                asked_at=row.asked_at,
                closed_at=row.closed_at,
                outcome=CancelOutcome(row.outcome) if row.outcome else None,
            )
            for part in chunks(ids)
            for row in self._rows(sa.select(cancellations).where(cancellations.c.task.in_(part)))
        }

    def _note(self, ids: Iterable[str], **values: float) -> None:
        with self._database.write() as connection:
            for part in chunks(sorted(ids)):
                connection.execute(
                    sa.update(cancellations).where(cancellations.c.task.in_(part)).values(**values)
                )


def _locked(connection: sa.Connection, ids: Collection[str]) -> list[sa.Row[Any]]:
    # In order of id, so that two hubs with overlapping batches wait instead of deadlocking.
    return [
        row
        for part in chunks(sorted(ids))
        for row in connection.execute(
            _FACTS.where(tasks.c.id.in_(part)).order_by(tasks.c.id).with_for_update()
        )
    ]


def _end(
    connection: sa.Connection,
    doomed: Collection[sa.Row[Any]],
    bodies: Mapping[str, bytes],
    at: float,
) -> None:
    if not doomed:
        return
    for part in chunks(bodies):
        connection.execute(
            sa.update(tasks)
            .where(tasks.c.id.in_(part))
            .values(state=TaskState.CANCELLED.value, completed_at=at)
        )
        connection.execute(sa.delete(payloads).where(payloads.c.task.in_(part)))
    connection.execute(
        sa.insert(results), [{"task": task, "body": body} for task, body in bodies.items()]
    )
    connection.execute(
        sa.insert(cancellations),
        [
            {"task": row.id, "user_endpoint": row.user_endpoint, "asked_at": at, "outcome": ""}
            for row in doomed
        ],
    )


def _cancelled(row: sa.Row[Any], body: bytes | None) -> CancelledTask:
    return CancelledTask(
        id=TaskId(row.id),
        group=TaskGroupId(row.group),
        owner=IdentityId(row.owner),
        user_endpoint=EndpointId(row.user_endpoint),
        state=TaskState.CANCELLED if body is not None else TaskState(row.state),
        body=body,
    )
