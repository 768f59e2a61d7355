"""How tasks end: once, in one transaction with their result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from chamberlain_hub.domain.task import FinishedTask, ReceivedResult
from chamberlain_hub.store.database import chunks
from chamberlain_hub.store.schema import payloads, results, tasks, user_endpoints
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.details import usage_of
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, TaskId
from chamberlain_wire.messages import Result
from chamberlain_wire.states import ENDED

_FACTS: Final[sa.Select[Any]] = sa.select(
    tasks.c.id, tasks.c.group, tasks.c.owner, tasks.c.user_endpoint, tasks.c.completed_at
)


class Results(Topic):
    """The end of tasks."""

    def finish(self, received: Sequence[ReceivedResult], at: float) -> list[FinishedTask]:
        """Store results, and return what is to be forwarded, in the order of `received`.

        Results for unknown tasks, and for tasks that are not their sender's, change nothing
        and are left out. A repeat is answered with the result that was stored first.

        Args:
            at: UTC seconds.
        """
        with self._database.write() as connection:
            rows = _lock(connection, {item.result.task_id for item in received})
            ours = [
                item
                for item in received
                if item.result.task_id in rows
                and rows[item.result.task_id].user_endpoint == item.sender
            ]
            first: dict[str, ReceivedResult] = {}
            for item in ours:
                if rows[item.result.task_id].completed_at is None:
                    first.setdefault(item.result.task_id, item)
            bodies = {task_id: item.body for task_id, item in first.items()}
            bodies |= _stored(connection, {item.result.task_id for item in ours} - first.keys())
            _end(connection, list(first.values()), at)
        return [
            _finished(rows[task_id], item.result, first.get(task_id) is item, bodies[task_id])
            for item in ours
            if (task_id := item.result.task_id) in bodies
        ]


def _lock(connection: sa.Connection, ids: Iterable[str]) -> dict[str, sa.Row[Any]]:
    # In order of id, so that two hubs with overlapping batches wait instead of deadlocking.
    return {
        row.id: row
        for part in chunks(sorted(ids))
        for row in connection.execute(
            _FACTS.where(tasks.c.id.in_(part)).order_by(tasks.c.id).with_for_update()
        )
    }


def _stored(connection: sa.Connection, ids: Iterable[str]) -> dict[str, bytes]:
    return {
        row.task: bytes(row.body)
        for part in chunks(sorted(ids))
        for row in connection.execute(sa.select(results).where(results.c.task.in_(part)))
    }


def _end(connection: sa.Connection, ends: Sequence[ReceivedResult], at: float) -> None:
    if not ends:
        return
    for state in ENDED:
        for part in chunks(end.result.task_id for end in ends if end.result.state is state):
            connection.execute(
                sa.update(tasks)
                .where(tasks.c.id.in_(part))
                .values(state=state.value, completed_at=at)
            )
    connection.execute(
        sa.insert(results),
        [
            {"task": end.result.task_id, "body": end.body, "usage": _usage(end.result)}
            for end in ends
        ],
    )
    for part in chunks(end.result.task_id for end in ends):
        connection.execute(sa.delete(payloads).where(payloads.c.task.in_(part)))
    # An ended task ends the row of failures after which nobody would be asked to start again.
    senders = sorted({end.sender for end in ends})
    connection.execute(
        sa.update(user_endpoints)
        .where(user_endpoints.c.id.in_(senders), user_endpoints.c.failures > 0)
        .values(failures=0)
    )


def _usage(result: Result) -> dict[str, Any] | None:
    used = usage_of(result)
    return None if used is None else msgspec.to_builtins(used)


def _finished(row: sa.Row[Any], result: Result, first: bool, body: bytes) -> FinishedTask:
    used = usage_of(result)
    return FinishedTask(
        task_id=TaskId(row.id),
        group=TaskGroupId(row.group),
        owner=IdentityId(row.owner),
        first=first,
        body=body,
        user_endpoint=EndpointId(row.user_endpoint),
        state=result.state,
        code="" if result.error_details is None else str(result.error_details.code)[:80],
        job="" if used is None else used.job_id,
    )
