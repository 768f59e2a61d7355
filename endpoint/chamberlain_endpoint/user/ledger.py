"""What this user endpoint knows of its tasks, on disk before anybody is told.

A task has no row while it waits: the broker keeps it for us, because it is acknowledged only
after its result is out, and gives it to us again after a crash. Its row is written before
its function starts, so that no crash can make it run twice, and again with its result before
the result is published, so that no crash can lose it. Everything of one turn of the main
loop is one transaction: one `fsync` for any number of tasks (WAL, synchronous=FULL).

The folder must be on a local disk: SQLite's locks do not work on network homes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.ids import TaskId

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tasks (
    task_id      TEXT PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('started', 'finished', 'confirmed')),
    attempts     INTEGER NOT NULL,
    result       BLOB,
    confirmed_at REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_tasks ON tasks (state) WHERE state <> 'confirmed';
CREATE INDEX IF NOT EXISTS old_tasks ON tasks (confirmed_at) WHERE state = 'confirmed';
"""
_FORMAT: Final = 1
_MOST_VARIABLES: Final = 500


class LedgerError(ChamberlainError):
    """The ledger cannot be read or written. End the process: nothing is safe without it."""

    code = ErrorCode.START_FAILED
    public = "The user endpoint cannot write its task ledger; is the disk full?"


class Mark(StrEnum):
    """How far a task has come."""

    STARTED = "started"
    FINISHED = "finished"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of one task.

    Attributes:
        attempts: how often it was handed to the engine.
        result: the encoded result while it is not confirmed, else None.
    """

    mark: Mark
    attempts: int
    result: bytes | None = None


@dataclass(slots=True)
class Turn:
    """What one turn of the main loop wants to be durable, in this order.

    Attributes:
        started: tasks that will be handed to the engine.
        finished: tasks with their encoded results, which will be published.
        confirmed: tasks whose results the broker has.
        ended: how many of `finished` came from the engine; not written.
    """

    started: list[TaskId] = field(default_factory=list)
    finished: dict[TaskId, bytes] = field(default_factory=dict)
    confirmed: list[TaskId] = field(default_factory=list)
    ended: int = 0

    def __bool__(self) -> bool:
        return bool(self.started or self.finished or self.confirmed)


class Ledger:
    """The file. One process, one thread.

    Args:
        path: made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file.

        Raises:
            LedgerError: no file can be made there, or it is not a ledger that we know.
        """
        try:
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, _FORMAT}:
                raise LedgerError(f"ledger has format {version}, known is {_FORMAT}")
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_FORMAT}")
        except sqlite3.Error as error:
            raise LedgerError(f"cannot open the ledger: {error}") from error
        self._db = db

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def write(self, turn: Turn, *, now: float) -> None:
        """Make `turn` durable; when this returns, no crash forgets it.

        Args:
            now: UTC, seconds since the epoch.

        Raises:
            LedgerError: nothing of it is written.
        """
        if not turn:
            return
        db = self._open_db()
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO tasks (task_id, state, attempts) VALUES (?, 'started', 1) "
                "ON CONFLICT (task_id) DO UPDATE SET state = 'started', attempts = attempts + 1",
                [(task_id,) for task_id in turn.started],
            )
            db.executemany(
                "INSERT INTO tasks (task_id, state, attempts, result) VALUES (?, 'finished', 0, ?) "
                "ON CONFLICT (task_id) DO UPDATE SET state = 'finished', result = excluded.result "
                "WHERE state = 'started'",
                list(turn.finished.items()),
            )
            db.executemany(
                "UPDATE tasks SET state = 'confirmed', result = NULL, confirmed_at = ? "
                "WHERE task_id = ?",
                [(now, task_id) for task_id in turn.confirmed],
            )
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise LedgerError(f"cannot write the ledger: {error}") from error

    def look(self, task_ids: Sequence[TaskId]) -> dict[TaskId, Row]:
        """Return the rows of those of `task_ids` that have one."""
        found: dict[TaskId, Row] = {}
        for first in range(0, len(task_ids), _MOST_VARIABLES):
            some = task_ids[first : first + _MOST_VARIABLES]
            marks = ",".join("?" * len(some))
            found.update(self._rows(f"WHERE task_id IN ({marks})", some))
        return found

    def unfinished(self) -> dict[TaskId, Row]:
        """Return the tasks that were started and never ended: an earlier process died."""
        return self._rows("WHERE state = 'started'")

    def unconfirmed(self) -> dict[TaskId, Row]:
        """Return the tasks whose result may not be with the broker yet."""
        return self._rows("WHERE state = 'finished'")

    def prune(self, *, confirmed_before: float) -> int:
        """Forget tasks that were confirmed before that time (UTC seconds); return how many.

        Only call it when the broker cannot send any of them again: their acknowledgement
        left long ago, on the connection that is still up.
        """
        try:
            return (
                self._open_db()
                .execute(
                    "DELETE FROM tasks WHERE state = 'confirmed' AND confirmed_at < ?",
                    (confirmed_before,),
                )
                .rowcount
            )
        except sqlite3.Error as error:
            raise LedgerError(f"cannot prune the ledger: {error}") from error

    def _rows(self, where: str, values: Iterable[str] = ()) -> dict[TaskId, Row]:
        try:
            cursor = self._open_db().execute(
                f"SELECT task_id, state, attempts, result FROM tasks {where}",  # noqa: S608
                tuple(values),
            )
            return {
                TaskId(task_id): Row(Mark(state), attempts, result)
                for task_id, state, attempts, result in cursor
            }
        except sqlite3.Error as error:
            raise LedgerError(f"cannot read the ledger: {error}") from error

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise LedgerError("the ledger is not open")
        return self._db
