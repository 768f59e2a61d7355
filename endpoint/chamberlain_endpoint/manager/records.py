"""What the manager must not forget: wishes, used ids, and events that the hub has not got yet.

SQLite in the manager's own folder. A wish and the use of its id are one transaction, and so
are a move and the event that tells of it: after a crash there is never one without the other.
The file holds broker credentials of wishes under way, hence its folder's mode 0700.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.life import KEPT, State
from chamberlain_wire.ids import CommandId, EndpointId
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import EndpointEvent

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE wishes (
    command TEXT PRIMARY KEY, user_endpoint TEXT NOT NULL, state TEXT NOT NULL,
    assertion TEXT NOT NULL, options TEXT NOT NULL, runtime TEXT NOT NULL,
    credentials TEXT NOT NULL, expires_at REAL NOT NULL, started_at REAL
);
CREATE TABLE used (command TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
"""


class RecordsError(FatalError):
    """The file was written by a later version. Start that version, or move the file away."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants a user endpoint.

    Attributes:
        command: id of the command, and of the assertion in it.
        assertion: the signed statement, as it came; empty once started.
        credentials: `QueueCredentials` as JSON text; empty once started.
        expires_at: UTC seconds; later the launcher will not believe the assertion.
        started_at: UTC seconds, or None before it started.
    """

    command: CommandId
    user_endpoint: EndpointId
    assertion: str
    options: dict[str, Any]
    runtime: dict[str, Any]
    credentials: Secret[str]
    expires_at: float
    state: State = State.WISHED
    started_at: float | None = None


class Records:
    """The manager's memory, at `path`. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._sql: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file; make it if it is not there.

        Raises:
            RecordsError: a later version wrote it.
        """
        sql = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._sql = sql
        sql.execute("PRAGMA journal_mode=WAL")
        # Commands are acknowledged on the strength of what is here: a power cut must not
        # take it back.
        sql.execute("PRAGMA synchronous=FULL")
        (version,) = sql.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise RecordsError(
                Exit.CONFIG,
                f"{self._path} has version {version}, this program knows {_VERSION}.",
            )
        if version == 0:
            sql.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._sql is not None:
                self._sql.close()
                self._sql = None

    def wish(self, wish: Wish, *, remember_until: float) -> bool:
        """Keep `wish` and the use of its id; False when that id was used before.

        Args:
            remember_until: UTC seconds; a repeat after it is too old to be believed anyway.
        """
        with self._transaction() as sql:
            done = sql.execute(
                "INSERT OR IGNORE INTO used VALUES (?, ?)", (wish.command, remember_until)
            )
            if done.rowcount == 0:
                return False
            self._insert(sql, wish)
        return True

    def adopt(self, wish: Wish) -> bool:
        """Keep what was found running and is not known here; False when it is."""
        with self._transaction() as sql:
            query = "SELECT 1 FROM wishes WHERE command = ?"
            if sql.execute(query, (wish.command,)).fetchone():
                return False
            self._insert(sql, wish)
        return True

    def all(self) -> list[Wish]:
        """Return every wish that has a future, oldest first."""
        with self._lock:
            rows = self._open().execute("SELECT * FROM wishes ORDER BY rowid").fetchall()
        return [_wish(row) for row in rows]

    def of(self, user_endpoint: EndpointId) -> list[Wish]:
        """Return the wishes for `user_endpoint`, oldest first."""
        query = "SELECT * FROM wishes WHERE user_endpoint = ? ORDER BY rowid"
        with self._lock:
            rows = self._open().execute(query, (user_endpoint,)).fetchall()
        return [_wish(row) for row in rows]

    def settle(
        self, wish: Wish, state: State, event: EndpointEvent, *, started_at: float | None = None
    ) -> Wish:
        """Move `wish` to `state` and note `event` for the hub; return the wish as it is now."""
        after = replace(wish, state=state, started_at=started_at or wish.started_at)
        if state is State.STARTED:
            # Nothing secret stays longer than it is needed.
            after = replace(after, assertion="", credentials=Secret(""))
        with self._transaction() as sql:
            if state in KEPT:
                sql.execute(
                    "UPDATE wishes SET state = ?, started_at = ?, assertion = ?, credentials = ?"
                    " WHERE command = ?",
                    (
                        state,
                        after.started_at,
                        after.assertion,
                        after.credentials.reveal(),
                        wish.command,
                    ),
                )
            else:
                sql.execute("DELETE FROM wishes WHERE command = ?", (wish.command,))
            body = msgspec.json.encode(event).decode()
            sql.execute("INSERT INTO events (body) VALUES (?)", (body,))
        return after

    def events(self, limit: int) -> list[tuple[int, EndpointEvent]]:
        """Return the oldest events that the hub has not confirmed, with their numbers."""
        query = "SELECT number, body FROM events ORDER BY number LIMIT ?"
        with self._lock:
            rows = self._open().execute(query, (limit,)).fetchall()
        return [(number, msgspec.json.decode(body, type=EndpointEvent)) for number, body in rows]

    def drop_events(self, numbers: Iterable[int]) -> None:
        """Forget events; the hub has them."""
        with self._transaction() as sql:
            sql.executemany("DELETE FROM events WHERE number = ?", [(each,) for each in numbers])

    def forget_used(self, now: float) -> None:
        """Forget used ids whose statements nobody would believe any more at `now`."""
        with self._transaction() as sql:
            sql.execute("DELETE FROM used WHERE until < ?", (now,))

    def _insert(self, sql: sqlite3.Connection, wish: Wish) -> None:
        sql.execute(
            "INSERT INTO wishes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                wish.command,
                wish.user_endpoint,
                wish.state,
                wish.assertion,
                json.dumps(wish.options),
                json.dumps(wish.runtime),
                wish.credentials.reveal(),
                wish.expires_at,
                wish.started_at,
            ),
        )

    def _open(self) -> sqlite3.Connection:
        if self._sql is None:
            raise sqlite3.ProgrammingError("the records are closed")
        return self._sql

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            sql = self._open()
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
            except BaseException:
                sql.execute("ROLLBACK")
                raise
            sql.execute("COMMIT")


def _wish(row: tuple[Any, ...]) -> Wish:
    command, user_endpoint, state, assertion, options, runtime, credentials, expires, started = row
    return Wish(
        command=CommandId(command),
        user_endpoint=EndpointId(user_endpoint),
        assertion=assertion,
        options=json.loads(options),
        runtime=json.loads(runtime),
        credentials=Secret(credentials),
        expires_at=expires,
        state=State(state),
        started_at=started,
    )
