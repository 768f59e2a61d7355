"""Believes a signed statement at most once, also across restarts.

The signature, the addressee and the age are checked by the wire's own functions. What is
kept here is the memory of used ids: in SQLite, because the standard library has it and a
commit that is on disk before anything starts is what single use means.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chamberlain_wire.assertion import (
    Assertion,
    AssertionRefusedError,
    check_addressed,
    open_signed,
)
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError
from chamberlain_wire.ids import canonical
from chamberlain_wire.limits import ASSERTION_LIFETIME_S

_KEEP_S: Final = ASSERTION_LIFETIME_S
"""How long an id is kept after its statement expired: a clock set back stays harmless."""

_SETUP: Final = (
    "PRAGMA journal_mode=WAL",
    # FULL: a commit is on the disk when it returns, not when the kernel gets to it.
    "PRAGMA synchronous=FULL",
    "CREATE TABLE IF NOT EXISTS used (id TEXT PRIMARY KEY, expires_at REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS used_by_age ON used (expires_at)",
)


class UsedIdsError(ChamberlainError):
    """The memory of used ids cannot be read or written. Start nothing; try again later."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint cannot start anything at the moment; try again later."


class UsedIds:
    """The ids that were used, on disk. Use it from one thread.

    Every method raises `UsedIdsError` when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or make the file."""
        with _translated(self._path):
            self._database = sqlite3.connect(self._path, isolation_level=None)
            for statement in _SETUP:
                self._database.execute(statement)

    def close(self) -> None:
        """Close the file. `open()` again to go on."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def has(self, used_id: str) -> bool:
        """Tell whether `used_id` was noted before."""
        with _translated(self._path):
            row = self._file.execute("SELECT 1 FROM used WHERE id = ?", (used_id,)).fetchone()
        return row is not None

    def note(self, used_id: str, expires_at: float, now: float) -> bool:
        """Note `used_id` durably; tell whether it was new. Forget what expired long ago."""
        with _translated(self._path):
            self._file.execute("DELETE FROM used WHERE expires_at < ?", (now - _KEEP_S,))
            cursor = self._file.execute(
                "INSERT OR IGNORE INTO used (id, expires_at) VALUES (?, ?)", (used_id, expires_at)
            )
        return cursor.rowcount == 1

    @property
    def _file(self) -> sqlite3.Connection:
        assert self._database is not None, "open() comes first"
        return self._database


class AssertionDesk:
    """Checks the statements that callers come with.

    Args:
        keys: returns the hub's raw public keys, of which one must have signed.
    """

    def __init__(
        self,
        keys: Callable[[], tuple[bytes, ...]],
        endpoint: str,
        used: UsedIds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._endpoint = endpoint
        self._used = used
        self._clock = clock

    def verify(self, token: str) -> Assertion:
        """Return the statement in `token`: signed by the hub, for us, fresh and unused.

        Raises:
            AssertionRefusedError: it is not. Start nothing.
        """
        keys = [Ed25519PublicKey.from_public_bytes(key) for key in self._keys()]
        try:
            assertion = open_signed(token.encode("ascii"), keys)
        except UnicodeEncodeError:
            raise AssertionRefusedError("assertion is not base64") from None
        check_addressed(assertion, endpoint=self._endpoint, now=self._clock())
        for text, what in ((assertion.id, "assertion"), (assertion.user_endpoint, "endpoint")):
            _refuse_odd_id(text, what)
        if self._used.has(assertion.id):
            raise _used_before(assertion)
        return assertion

    def consume(self, assertion: Assertion) -> None:
        """Use `assertion` up, durably. Only then may anything start.

        Raises:
            AssertionRefusedError: somebody else was faster, or it expired meanwhile.
        """
        now = self._clock()
        check_addressed(assertion, endpoint=self._endpoint, now=now)
        if not self._used.note(assertion.id, assertion.expires_at, now):
            raise _used_before(assertion)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UsedIdsError(f"{path}: {error}") from error


def _refuse_odd_id(text: str, what: str) -> None:
    # The id becomes the name of a folder: one spelling, and nothing but a UUID.
    try:
        odd = canonical(text, what) != text
    except InvalidIdError:
        odd = True
    if odd:
        raise AssertionRefusedError(f"id {text[:80]!r} of the {what} is no canonical UUID")


def _used_before(assertion: Assertion) -> AssertionRefusedError:
    return AssertionRefusedError(
        f"assertion {assertion.id} was used before",
        public="The request was already used once; it cannot be repeated.",
    )
