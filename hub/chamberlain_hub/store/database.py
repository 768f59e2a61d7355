"""One connection pool, and what a transaction is on each database.

SQLite: WAL, every commit on disk before it is acknowledged, one writer at a time in this
process (waiting for a lock of our own is fairer than SQLite's retries); other processes, such
as the command line, wait up to 10 s. PostgreSQL: read committed, rows locked where a decision
follows from them, so several hubs may share it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from chamberlain_hub.domain.errors import StoreUnavailableError, ValueRefusedError

T = TypeVar("T")

_BUSY_S: Final = 10.0
_WRITE: Final = "chamberlain_write"
# Databases limit the parameters of one statement; a cached statement of this size is fast.
CHUNK: Final = 500


class Database:
    """The pool. Thread-safe.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Attributes:
        on_time: told the kind (`read`, `write`) and the seconds of each that did not fail.
    """

    def __init__(self, url: str) -> None:
        self._writer = threading.Lock()
        self.on_time: Callable[[str, float], None] = _ignore
        parsed = sa.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._engine = sa.create_engine(
                parsed,
                connect_args={"timeout": _BUSY_S, "check_same_thread": False},
                pool_size=8,
                max_overflow=32,
            )
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
            self._reader = self._engine
        else:
            self._engine = sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=8,
                max_overflow=32,
                pool_pre_ping=True,
            )
            # A read is one statement: without a transaction it is one round trip.
            self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a connection for one statement that changes nothing."""
        began = time.perf_counter()
        with _translated(), self._reader.connect() as connection:
            yield connection
        self.on_time("read", time.perf_counter() - began)

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction, which commits at the end of the block."""
        lock = self._writer if self.is_sqlite else contextlib.nullcontext()
        began = time.perf_counter()
        with _translated(), lock, self._engine.connect() as connection:
            connection.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection
        self.on_time("write", time.perf_counter() - began)

    def insert(self, table: sa.Table) -> Any:
        """Return an insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


def _ignore(_kind: str, _took_s: float) -> None:
    return None


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut `values` into lists that fit into one statement."""
    every = list(values)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions begin too late and without a lock; ours are in _begin_sqlite.
    connection.isolation_level = None
    _write_ahead(connection)
    for setting in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16000",
        "wal_autocheckpoint=4000",
    ):
        connection.execute(f"PRAGMA {setting}")


def _write_ahead(connection: Any) -> None:
    """Switch the file to WAL, once for ever; whoever comes at the same moment tries again.

    SQLite answers "locked" to this at once, without the patience it has otherwise.
    """
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE: a read that turns into a write would fail at once when another process writes.
    if connection.get_execution_options().get(_WRITE):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DataError, UnicodeEncodeError) as error:
        raise ValueRefusedError(f"database: {error}") from error
    except DBAPIError as error:
        raise StoreUnavailableError(f"database: {error.orig}") from error
    except SQLAlchemyError as error:
        raise StoreUnavailableError(f"database: {error}") from error
