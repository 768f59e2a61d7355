"""What every topic of the store shares: the pool, and rows that become records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from chamberlain_hub.store.database import Database


class Topic:
    """A group of methods of the store; each method is one transaction. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._database.read() as connection:
            return connection.execute(statement).all()

    def _row(self, statement: sa.Select[Any]) -> sa.Row[Any] | None:
        with self._database.read() as connection:
            return connection.execute(statement).first()
