"""Task groups: what one Executor or batch submits together."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from chamberlain_hub.domain.errors import TaskGroupNotFoundError
from chamberlain_hub.store.schema import task_groups
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import IdentityId


class Groups(Topic):
    """Task groups: whose they are."""

    def ensure_group(self, group: str, owner: str) -> None:
        """Make a task group of `owner`, unless it is there.

        Raises:
            TaskGroupNotFoundError: it is another identity's.
        """
        whose = self.group_owner(group)
        if whose is None:
            row = {"id": group, "owner": owner, "created_at": time.time()}
            with self._database.write() as connection:
                statement = self._database.insert(task_groups).values(row)
                connection.execute(statement.on_conflict_do_nothing())
                whose = IdentityId(connection.execute(_owner_of(group)).scalar_one())
        if whose != owner:
            raise TaskGroupNotFoundError(public=f"There is no task group {group[:80]}.")

    def group_owner(self, group: str) -> IdentityId | None:
        """Return whose task group it is; None: there is no such group."""
        row = self._row(_owner_of(group))
        return None if row is None else IdentityId(row.owner)


def _owner_of(group: str) -> sa.Select[Any]:
    return sa.select(task_groups.c.owner).where(task_groups.c.id == group)
