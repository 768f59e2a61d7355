"""The launcher's memory of what it decided: one JSON line a decision, chained by hashes.

A line is on the disk before what it tells of happens. When it cannot be written, nothing
happens, unless the site chose to go on without it. What the files are: see `audit_chain`.
What the launcher cannot know of itself (functions, tasks, batch jobs) user endpoints claim:
see `task_audit`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher.settings import AuditSettings, OnWriteFailure
from chamberlain_wire.audit_file import AuditFile, Keeping
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class AuditError(ChamberlainError):
    """The audit log cannot be written, or another launcher writes to it. Act on nothing."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint cannot start anything at the moment; try again later."


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, or one thing that followed from it. Empty: not known or not applicable.

    Attributes:
        action: `start`, `admit`, `launch`, `session`, `silence`, `stop`, `ended`, `mapping`,
            `audit`, `leave`, `sweep`; `task` for a claim.
        decision: `granted`, `refused`, or `noted` where nothing was asked.
        command: id of the assertion.
        identity: id of the effective identity.
        source: network address of the caller, as the hub saw it.
        outcome: how a user endpoint ended: `clean`, `failed`, `killed` or `never ran`; what
            happened to a task; `opened` for a session; `begun`, `clean` or `jobs left` for a sweep
            of batch jobs.
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


def _document(entry: Entry) -> dict[str, object]:
    # By hand: `asdict` copies what is in it, and tasks come by the thousand.
    return {name: getattr(entry, name) for name in _FIELDS}


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
        keeping = Keeping(self._settings.max_bytes, self._settings.keep_files)
        self._file = AuditFile(path, keeping, clock)

    def open(self) -> None:
        """Open or make the files and go on with their chain.

        Raises:
            AuditError: they cannot be opened, or another launcher holds them.
        """
        try:
            self._file.open()
        except OSError as error:
            raise AuditError(f"{self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the files."""
        self._file.close()

    def note(self, entry: Entry) -> None:
        """Append `entry`; it is on the disk when this returns.

        Raises:
            AuditError: it is not. Do not do what it tells of. Never raised where the site
                chose to go on without the line.
        """
        try:
            self._file.write([_document(entry)])
        except OSError as error:
            if self._settings.on_write_failure is OnWriteFailure.REFUSE:
                raise AuditError(f"{self._path}: {error.strerror}") from error

    def note_all(self, entries: Sequence[Entry]) -> None:
        """Append `entries` with one write; those that cannot be written are counted as lost.

        The next line that can be written says how many.
        """
        with contextlib.suppress(OSError):
            self._file.write([_document(entry) for entry in entries])
