"""The launcher's memory of what it decided: one JSON line a decision, chained by hashes.

Each line carries the SHA-256 of the line before it, across restarts, so that a changed,
removed or inserted line is found by `verify`. What no chain shows is a tail that was cut
off: ship the lines elsewhere if that matters. A line is on the disk before what it tells of
happens; when it cannot be written, nothing happens.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

FIRST: Final = "0" * 64
"""What the first line carries in place of a hash."""

_BLOCK_BYTES: Final = 64 * 1024


class AuditError(ChamberlainError):
    """The audit log cannot be written, or another launcher writes to it. Act on nothing."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint cannot start anything at the moment; try again later."


class BrokenChainError(ChamberlainError):
    """An audit log was changed after it was written. The detail names the first such line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, or one thing that followed from it. Empty: not known or not applicable.

    Attributes:
        action: `start`, `admit`, `launch`, `stop`, `ended`, `mapping`, `leave`.
        decision: `granted`, `refused`, or `noted` where nothing was asked.
        command: id of the assertion.
        identity: id of the effective identity.
        source: network address of the caller, as the hub saw it.
        reason: the rule that matched, or why it was refused.
    """

    action: str
    decision: str
    command: str = ""
    identity: str = ""
    username: str = ""
    source: str = ""
    endpoint: str = ""
    user_endpoint: str = ""
    account: str = ""
    uid: int | None = None
    code: str = ""
    reason: str = ""


class AuditLog:
    """Appends entries to one file. Use it from one thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._fd = -1
        self._last = FIRST
        self._torn = False

    def open(self) -> None:
        """Open or make the file and go on with its chain.

        Raises:
            AuditError: it cannot be opened, or another launcher holds it.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = _last_line(self._fd)
            if last and not last.endswith(b"\n"):
                # The host went down in the middle of a line. It stays, as a line of its own.
                os.write(self._fd, b"\n")
        except OSError as error:
            raise AuditError(f"{self._path}: {error.strerror}") from error
        if last:
            self._last = _digest(last)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def note(self, entry: Entry) -> None:
        """Append `entry`; it is on the disk when this returns.

        Raises:
            AuditError: it is not. Do not do what it tells of.
        """
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        told = {name: value for name, value in asdict(entry).items() if value not in ("", None)}
        document = {"at": at, **told, "previous": self._last}
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
            os.fsync(self._fd)
        except OSError as error:
            raise AuditError(f"{self._path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        if self._torn:
            os.write(self._fd, b"\n")
            self._torn = False
        written = os.write(self._fd, line)
        self._last = _digest(line[:written])
        if written != len(line):
            # A full disk. The part stays, as a torn line that the chain covers.
            self._torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def verify(path: Path) -> int:
    """Return the number of lines of the audit log `path` when its chain is whole.

    Raises:
        BrokenChainError: it is not.
        OSError: it cannot be read.
    """
    expected = FIRST
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if _previous(line) not in (expected, None):
                raise BrokenChainError(f"{path}: line {number} does not follow the one before it")
            if _previous(line) is None and _is_whole(line):
                raise BrokenChainError(f"{path}: line {number} is in no chain")
            expected = _digest(line)
    return number


def _previous(line: bytes) -> str | None:
    """Return the hash that `line` carries; None when it is a torn or foreign line."""
    try:
        document = json.loads(line)
        return str(document["previous"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_whole(line: bytes) -> bool:
    """Tell whether `line` is JSON. A torn line (the host went down) is not; it is allowed,
    because the line after it carries its hash."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _last_line(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    tail = b""
    while size > 0 and tail.count(b"\n", 0, -1) == 0:
        step = min(_BLOCK_BYTES, size)
        size -= step
        tail = os.pread(fd, step, size) + tail
    return tail[tail.rfind(b"\n", 0, -1) + 1 :]


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()
