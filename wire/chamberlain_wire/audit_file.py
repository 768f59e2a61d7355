"""Writes an audit log: appended, chained, on the disk before the caller goes on.

What the files are: see `audit_chain`. The launcher and the hub both write with this, each a
log of its own. Standard library only: the root process loads this module.

A log has one writer for its whole life (the launcher: a second one is refused), or is `shared`
by the processes of one host, which take turns (the hub and its command line).
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chamberlain_wire import audit_chain
from chamberlain_wire.audit_chain import Head

_log: Final = logging.getLogger(__name__)

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_TURN_S: Final = 5.0
_TURN_STEP_S: Final = 0.002

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much is kept.

    Attributes:
        max_bytes: a file of this size is full, and another one is begun.
        keep_files: how many full files are kept; older ones are removed.
        shared: several processes write by turns.
    """

    max_bytes: int = 16 * 1024 * 1024
    keep_files: int = 64
    shared: bool = False


class AuditFile:
    """Appends to one log. Use it from one thread."""

    def __init__(
        self, path: Path, keeping: Keeping | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._keeping = keeping or Keeping()
        self._clock = clock
        self._fd = -1
        self._head_fd = -1
        self._head = Head()
        self._size = 0
        self._torn = False
        self._lost = 0
        self._lost_since = ""

    def open(self) -> None:
        """Open or make the files and go on with their chain.

        Raises:
            OSError: they cannot be opened, or another writer holds them.
        """
        self._head_fd = os.open(audit_chain.head_path(self._path), _FLAGS, 0o600)
        try:
            self._take_turn()
            self._resume()
            os.fsync(self._head_fd)
        except OSError:
            self.close()
            raise
        self._end_turn()

    def close(self) -> None:
        """Let go of the files. Safe to call twice."""
        for fd in (self._fd, self._head_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head_fd = -1

    def write(self, documents: Sequence[Document]) -> None:
        """Append one line for each of `documents`; all are on the disk when this returns.

        What could not be written is counted, and told by the first line that can be again.

        Raises:
            OSError: not all are. Do not do what they tell of.
        """
        try:
            self._write(documents)
        except OSError as error:
            is_first = not self._lost
            self._lost_since = self._now() if is_first else self._lost_since
            self._lost += len(documents)
            if is_first or len(documents) == 1:
                # Batches come by the second: of those only the first is told.
                _log.error(
                    "audit lines could not be written",
                    extra={"event": "audit.failed", "count": self._lost, "reason": str(error)},
                )
            raise

    def _write(self, documents: Sequence[Document]) -> None:
        if self._keeping.shared:
            if self._fd < 0:
                self.open()
            self._take_turn()
        try:
            if self._keeping.shared and self._was_changed():
                self._resume()
            self._rotate_when_full()
            if self._lost:
                reason = f"{self._lost} lines could not be written since {self._lost_since}"
                self._append([_noted(reason)])
                self._lost = 0
            self._append(documents)
        finally:
            self._end_turn()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")

    def _take_turn(self) -> None:
        # Not for ever: whoever holds it may have been stopped, and callers wait for us.
        deadline = time.monotonic() + (_TURN_S if self._keeping.shared else 0.0)
        while True:
            try:
                fcntl.flock(self._head_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_TURN_STEP_S)
            else:
                return

    def _end_turn(self) -> None:
        if self._keeping.shared and self._head_fd >= 0:
            fcntl.flock(self._head_fd, fcntl.LOCK_UN)

    def _was_changed(self) -> bool:
        """Tell whether another process wrote, or was ended while it did, since our last turn."""
        there = os.pread(self._head_fd, len(self._head.to_bytes()), 0)
        return there != self._head.to_bytes() or os.fstat(self._fd).st_size != self._size

    def _resume(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._fd = os.open(self._path, _FLAGS | os.O_APPEND, 0o600)
        # The host went down in the middle of a line. It stays, as a line of its own.
        self._torn = not _ends_with_newline(self._fd)
        self._head, fault = audit_chain.resume(self._path, audit_chain.read_head(self._path))
        self._size = os.fstat(self._fd).st_size
        self._write_head()
        if fault:
            _log.error("the audit log has a gap", extra={"event": "audit.gap", "reason": fault})
            self._append([_noted(fault)])

    def _append(self, documents: Sequence[Document]) -> None:
        if self._torn:
            self._size += os.write(self._fd, b"\n")
            self._torn = False
        lines, last = [], self._head.last
        at = self._now()
        for document in documents:
            known = {name: value for name, value in document.items() if value not in ("", None)}
            told = {"at": at, **known, "previous": last}
            lines.append(json.dumps(told, separators=(",", ":")).encode() + b"\n")
            last = audit_chain.digest(lines[-1])
        whole = b"".join(lines)
        written = os.write(self._fd, whole)
        self._size += written
        if written != len(whole):
            # A full disk. The part stays; a torn line is one that the chain covers.
            lines = whole[:written].splitlines(keepends=True)
            last = audit_chain.digest(lines[-1]) if lines else self._head.last
            self._torn = bool(lines) and not lines[-1].endswith(b"\n")
        else:
            os.fsync(self._fd)
        self._head = replace(self._head, lines=self._head.lines + len(lines), last=last)
        # Not synced: after a crash the head may be behind the log, which is no fault.
        self._write_head()
        if written != len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write_head(self) -> None:
        os.pwrite(self._head_fd, self._head.to_bytes(), 0)

    def _rotate_when_full(self) -> None:
        if self._torn or os.fstat(self._fd).st_size < self._keeping.max_bytes:
            return
        try:
            self._rotate()
            self._drop_oldest()
        except OSError as error:
            # The old file goes on, above its size: a line matters more than a file's size.
            _log.error(
                "the audit log could not be rotated",
                extra={"event": "audit.not_rotated", "reason": str(error)},
            )

    def _rotate(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        # On the disk before a later head says that lines stand in a later file.
        os.fsync(self._head_fd)
        fd = os.open(fresh, _FLAGS | os.O_APPEND | os.O_TRUNC, 0o600)
        try:
            number = max(audit_chain.full_files(self._path), default=self._head.oldest - 1) + 1
            self._path.rename(self._path.with_name(f"{self._path.name}.{number}"))
            fresh.rename(self._path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size = fd, 0
        _sync_folder(self._path.parent)

    def _drop_oldest(self) -> None:
        full = audit_chain.full_files(self._path, self._head.oldest)
        while len(full) > self._keeping.keep_files:
            oldest = min(full)
            dropped = full.pop(oldest)
            lines = audit_chain.digests(dropped)
            self._head = replace(
                self._head,
                dropped=self._head.dropped + len(lines),
                previous=lines[-1] if lines else self._head.previous,
                oldest=oldest + 1,
            )
            # Before the file goes: a head that knows less is right, one that misses is not.
            self._write_head()
            os.fsync(self._head_fd)
            dropped.unlink()


def _noted(reason: str) -> Document:
    return {"action": "audit", "decision": "noted", "reason": reason}


def _ends_with_newline(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
