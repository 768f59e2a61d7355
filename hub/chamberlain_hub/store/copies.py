"""Copies of the whole database: made while the hub runs, put where there is none yet.

SQLite by its own backup interface, PostgreSQL by its own programs. Those get the login in a file
that only we can read, never as an argument or in their environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from chamberlain_hub.store import migrate
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_SERVICE: Final = "chamberlain"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LIMIT_S: Final = 6 * 3600.0
_BUSY_S: Final = 10.0


class CopyError(ChamberlainError):
    """The database was not copied, and not changed; `public` says what to do."""

    code = ErrorCode.CONFLICT


def kind(url: str) -> str:
    """Return `sqlite` or `postgresql`."""
    return sa.make_url(url).get_backend_name()


def sqlite_file(url: str) -> Path:
    """Return the file of the SQLite database at `url`."""
    return Path(sa.make_url(url).database or "")


def revision(url: str) -> str:
    """Return the version of the tables at `url`; empty when there are none.

    Raises:
        CopyError: the database does not answer.
    """
    parsed = sa.make_url(url)
    if kind(url) == "sqlite" and not sqlite_file(url).exists():
        return ""
    if kind(url) != "sqlite":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(parsed)
    try:
        with engine.connect() as connection:
            return "" if migrate.is_new(connection) else migrate.revision(connection)
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise CopyError(public=f"The database does not answer: {cause}".strip()) from None
    finally:
        engine.dispose()


def copy_out(url: str, to: Path) -> None:
    """Write a copy of the database at `url`, as it is at one moment, into the new file `to`.

    Raises:
        CopyError: it could not be read, or there is no room.
    """
    if kind(url) == "sqlite":
        _copy_sqlite(sqlite_file(url), to)
        return
    with _service(url) as environment:
        _run(["pg_dump", "--format=custom", "--no-password", f"--file={to}"], environment)


def put_in(url: str, source: Path) -> None:
    """Put the copy in the file `source` at `url`, where no tables may be yet.

    With SQLite `source` is moved there, and must be on the same file system.

    Raises:
        CopyError: the copy is no good, or there are tables. Nothing was changed.
    """
    if kind(url) == "sqlite":
        _check_sqlite(source)
        file = sqlite_file(url)
        try:
            file.hardlink_to(source)
        except OSError as error:
            raise CopyError(public=f"{file} cannot be made: {error.strerror}.") from None
        source.unlink()
        return
    with _service(url) as environment:
        words = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
        _run(
            ["pg_restore", "--no-password", *words, f"--dbname=service={_SERVICE}", str(source)],
            environment,
        )


def _copy_sqlite(file: Path, to: Path) -> None:
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
            ) as there,
            contextlib.closing(sqlite3.connect(to)) as copy,
        ):
            # In one go, from one reading transaction: writers of the log go on meanwhile.
            there.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise CopyError(public=f"{file} cannot be copied: {error}.") from None
    _check_sqlite(to)


def _check_sqlite(file: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(file)) as copy:
            (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise CopyError(public=f"The copy of the database is damaged: {said}.")


@contextlib.contextmanager
def _service(url: str) -> Iterator[dict[str, str]]:
    """Give the environment in which PostgreSQL's programs find the login in a private file."""
    parsed = sa.make_url(url)
    words = parsed.translate_connect_args(username="user", database="dbname")
    lines = [f"{name}={value}" for name, value in {**words, **parsed.query}.items()]
    if any("\n" in line for line in lines):
        raise CopyError(public="database_url holds a line break.")
    with tempfile.TemporaryDirectory(prefix="chamberlain-") as folder:
        file = Path(folder, "service.conf")
        file.touch(mode=0o600)
        file.write_text("\n".join([f"[{_SERVICE}]", *lines, ""]))
        yield {
            "PATH": _PATH,
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "PGSERVICEFILE": str(file),
            "PGSERVICE": _SERVICE,
        }


def _run(command: list[str], environment: dict[str, str]) -> None:
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        raise CopyError(
            public=f"{command[0]} is not installed on this host, and PostgreSQL's databases are "
            "copied with it. Install the server's version of it (Debian: postgresql-client)."
        )
    done = subprocess.run(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=os.sep,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-500:]
        raise CopyError(public=f"{command[0]} could not do it: {said}")
