"""The launcher's memory of what it decided: one JSON line a decision, chained by hashes.

A line is on the disk before what it tells of happens. When it cannot be written, nothing
happens, unless the site chose to go on without it. What the files are: see `audit_chain`.
What the launcher cannot know of itself (functions, tasks, batch jobs) user endpoints claim:
see `task_audit`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher import audit_chain
from chamberlain_endpoint.launcher.audit_chain import Head
from chamberlain_endpoint.launcher.settings import AuditSettings, OnWriteFailure
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_log: Final = logging.getLogger(__name__)

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class AuditError(ChamberlainError):
    """The audit log cannot be written, or another launcher writes to it. Act on nothing."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint cannot start anything at the moment; try again later."


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, or one thing that followed from it. Empty: not known or not applicable.

    Attributes:
        action: `start`, `admit`, `launch`, `session`, `silence`, `stop`, `ended`, `mapping`,
            `audit`, `leave`; `task` for a claim.
        decision: `granted`, `refused`, or `noted` where nothing was asked.
        command: id of the assertion.
        identity: id of the effective identity.
        source: network address of the caller, as the hub saw it.
        outcome: how a user endpoint ended: `clean`, `failed`, `killed` or `never ran`; what
            happened to a task; `opened` for a session.
        reason: the rule that matched, why it was refused, or how it ended.
        by: whose claim it is; empty: the launcher's own knowledge.
        code_sha256: of a function's packed code, 64 hex digits.
        missed: how many claims were left out before this one.
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
    outcome: str = ""
    code: str = ""
    reason: str = ""
    by: str = ""
    task: str = ""
    function: str = ""
    code_sha256: str = ""
    job: str = ""
    missed: int | None = None


_FIELDS: Final = tuple(field.name for field in fields(Entry))


class AuditLog:
    """Appends entries to one log. Use it from one thread."""

    def __init__(
        self,
        path: Path,
        settings: AuditSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._settings = settings or AuditSettings()
        self._clock = clock
        self._fd = -1
        self._head_fd = -1
        self._head = Head()
        self._torn = False
        self._lost = 0
        self._lost_since = ""

    def open(self) -> None:
        """Open or make the files and go on with their chain.

        Raises:
            AuditError: they cannot be opened, or another launcher holds them.
        """
        try:
            self._head_fd = os.open(audit_chain.head_path(self._path), _FLAGS, 0o600)
            fcntl.flock(self._head_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fd = os.open(self._path, _FLAGS | os.O_APPEND, 0o600)
            # The host went down in the middle of a line. It stays, as a line of its own.
            self._torn = not _ends_with_newline(self._fd)
            self._head, fault = audit_chain.resume(self._path, audit_chain.read_head(self._path))
            self._write_head()
            os.fsync(self._head_fd)
        except OSError as error:
            raise AuditError(f"{self._path}: {error.strerror}") from error
        if fault:
            _log.error("the audit log has a gap", extra={"event": "audit.gap", "reason": fault})
            self.note(Entry("audit", "noted", reason=fault))

    def close(self) -> None:
        """Let go of the files."""
        for fd in (self._fd, self._head_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head_fd = -1

    def note(self, entry: Entry) -> None:
        """Append `entry`; it is on the disk when this returns.

        Raises:
            AuditError: it is not. Do not do what it tells of. Never raised where the site
                chose to go on without the line.
        """
        try:
            self._append_all([entry])
        except OSError as error:
            self._note_loss(1)
            _log.error(
                "an audit line could not be written",
                extra={"event": "audit.failed", "count": self._lost, "reason": str(error)},
            )
            if self._settings.on_write_failure is OnWriteFailure.REFUSE:
                raise AuditError(f"{self._path}: {error.strerror}") from error

    def note_all(self, entries: Sequence[Entry]) -> None:
        """Append `entries` with one write; those that cannot be written are counted as lost.

        The next line that can be written says how many.
        """
        try:
            self._append_all(entries)
        except OSError as error:
            if not self._lost:
                # Once and not again for each batch: they come by the second.
                _log.error(
                    "audit lines could not be written",
                    extra={"event": "audit.failed", "count": len(entries), "reason": str(error)},
                )
            self._note_loss(len(entries))

    def _append_all(self, entries: Sequence[Entry]) -> None:
        self._rotate_when_full()
        if self._lost:
            self._append([self._told_of_loss()])
            self._lost = 0
        self._append(entries)

    def _note_loss(self, count: int) -> None:
        self._lost_since = self._lost_since if self._lost else self._now()
        self._lost += count

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")

    def _told_of_loss(self) -> Entry:
        reason = f"{self._lost} lines could not be written since {self._lost_since}"
        return Entry("audit", "noted", reason=reason)

    def _line(self, entry: Entry, at: str, previous: str) -> bytes:
        document: dict[str, object] = {"at": at}
        for name in _FIELDS:
            value = getattr(entry, name)
            if value not in ("", None):
                document[name] = value
        document["previous"] = previous
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    def _append(self, entries: Sequence[Entry]) -> None:
        if self._torn:
            os.write(self._fd, b"\n")
            self._torn = False
        lines, digests, at = [], [self._head.last], self._now()
        for entry in entries:
            lines.append(self._line(entry, at, digests[-1]))
            digests.append(audit_chain.digest(lines[-1]))
        written = os.write(self._fd, b"".join(lines))
        count, left = 0, written
        while count < len(lines) and len(lines[count]) <= left:
            left -= len(lines[count])
            count += 1
        is_whole = count == len(lines)
        last = digests[count]
        if left:
            # A full disk. The part stays, as a torn line that the chain covers.
            self._torn = True
            last = audit_chain.digest(lines[count][:left])
        lines_in_all = self._head.lines + count + bool(left)
        self._head = replace(self._head, lines=lines_in_all, last=last)
        if is_whole:
            os.fsync(self._fd)
        # Not synced: after a crash the head may be behind the log, which is no fault.
        self._write_head()
        if not is_whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write_head(self) -> None:
        os.pwrite(self._head_fd, self._head.to_bytes(), 0)

    def _rotate_when_full(self) -> None:
        if self._torn or os.fstat(self._fd).st_size < self._settings.max_bytes:
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
        self._fd = fd
        _sync_folder(self._path.parent)

    def _drop_oldest(self) -> None:
        full = audit_chain.full_files(self._path, self._head.oldest)
        while len(full) > self._settings.keep_files:
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


def _ends_with_newline(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
