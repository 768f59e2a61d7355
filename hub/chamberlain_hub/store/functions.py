"""Registered functions."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain.errors import FunctionNotFoundError, StoreUnavailableError
from chamberlain_hub.domain.function import Function
from chamberlain_hub.store.schema import functions
from chamberlain_hub.store.topic import Topic
from chamberlain_wire.ids import FunctionId, IdentityId

_FIELDS = tuple(column.name for column in functions.c if column.name != "deleted_at")


class Functions(Topic):
    """Registered functions."""

    def add_function(self, function: Function) -> None:
        """Store a function; it never changes afterwards.

        Raises:
            StoreUnavailableError: its id is taken, which a random id never is. Try again.
        """
        with self._database.write() as connection:
            try:
                connection.execute(
                    sa.insert(functions), {name: getattr(function, name) for name in _FIELDS}
                )
            except IntegrityError as error:
                raise StoreUnavailableError(f"function {function.id} is there") from error

    def function(self, function_id: str, *, with_deleted: bool = False) -> Function | None:
        """Return a function.

        Args:
            with_deleted: also one that its owner deleted: tasks that were accepted before
                still need its code.
        """
        statement = sa.select(functions).where(functions.c.id == function_id)
        if not with_deleted:
            statement = statement.where(functions.c.deleted_at.is_(None))
        row = self._row(statement)
        return None if row is None else _as_function(row)

    def functions_of(self, owner: str, limit: int) -> list[Function]:
        """Return the newest functions of an identity that it did not delete, without code."""
        statement = (
            sa.select(*(functions.c[name] for name in _FIELDS if name != "code"))
            .where(functions.c.owner == owner, functions.c.deleted_at.is_(None))
            .order_by(functions.c.created_at.desc(), functions.c.id)
            .limit(limit)
        )
        return [_as_function(row, code="") for row in self._rows(statement)]

    def delete_function(self, function_id: str, owner: str) -> None:
        """Make a function unknown to everybody; accepted tasks still run.

        Raises:
            FunctionNotFoundError: there is none, or it is not `owner`'s.
        """
        with self._database.write() as connection:
            done = connection.execute(
                sa.update(functions)
                .where(
                    functions.c.id == function_id,
                    functions.c.owner == owner,
                    functions.c.deleted_at.is_(None),
                )
                .values(deleted_at=time.time())
            )
            if done.rowcount == 0:
                raise FunctionNotFoundError(public=f"There is no function {function_id[:80]}.")


def _as_function(row: sa.Row[tuple[object, ...]], **more: str) -> Function:
    fields = {name: getattr(row, name) for name in _FIELDS if name not in more} | more
    fields["id"], fields["owner"] = FunctionId(row.id), IdentityId(row.owner)
    return Function(**fields)
