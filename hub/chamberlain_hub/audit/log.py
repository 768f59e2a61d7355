"""The hub's audit log: one thread writes what many bring, and one fsync serves them all.

A line is on the disk before what it tells of happens (ADR 0012). The files are those of
`chamberlain_wire.audit_chain`; the hub's command line, in a process of its own, takes turns.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from chamberlain_hub.audit.entry import Entry
from chamberlain_hub.audit.port import AuditError
from chamberlain_hub.config import HubSettings, OnAuditFailure
from chamberlain_wire.audit_file import AuditFile, Keeping

FILE_NAME: Final = "audit.log"
_MOST: Final = 512

_Item = tuple[tuple[Entry, ...], Future[None]]


def audit_path(settings: HubSettings) -> Path:
    """Return where the audit log of a hub with these settings is."""
    return (settings.audit_dir or settings.data_dir) / FILE_NAME


class AuditLog:
    """Writes in a thread of its own, from `start` to `stop`. See `port.Audit`."""

    def __init__(
        self,
        file: AuditFile,
        *,
        on_failure: OnAuditFailure,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._on_failed = on_failed
        self._refuse = on_failure is OnAuditFailure.REFUSE
        self._items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, settings: HubSettings, on_failed: Callable[[], None] = lambda: None) -> AuditLog:
        """Return the log that `settings` describe, not started.

        Args:
            on_failed: called for each write that failed.
        """
        keeping = Keeping(settings.audit_max_bytes, settings.audit_keep_files, shared=True)
        file = AuditFile(audit_path(settings), keeping)
        return cls(file, on_failure=settings.audit_on_failure, on_failed=on_failed)

    def start(self) -> None:
        """Open the files and begin.

        Raises:
            AuditError: they cannot be opened, and the site chose to refuse then.
        """
        try:
            self._file.open()
        except OSError as error:
            if self._refuse:
                raise _error(error) from error
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Write what has been brought, then end. Safe to call twice."""
        self._items.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
            self._file.close()

    def put(self, *entries: Entry) -> Future[None]:
        """See `port.Audit`."""
        answer: Future[None] = Future()
        self._items.put((entries, answer))
        return answer

    def note(self, *entries: Entry) -> None:
        """See `port.Audit`."""
        self.put(*entries).result()

    def _run(self) -> None:
        more = True
        while more:
            batch: list[_Item] = []
            item = self._items.get()
            while item is not None:
                batch.append(item)
                if len(batch) >= _MOST or self._items.empty():
                    break
                item = self._items.get()
            more = item is not None
            if batch:
                self._write(batch)

    def _write(self, batch: list[_Item]) -> None:
        refused: AuditError | None = None
        try:
            self._file.write([entry.document() for entries, _ in batch for entry in entries])
        except OSError as error:
            self._on_failed()
            refused = _error(error) if self._refuse else None
        for _, answer in batch:
            if refused is None:
                answer.set_result(None)
            else:
                answer.set_exception(refused)


def _error(error: OSError) -> AuditError:
    return AuditError(f"audit log: {error.filename or ''} {error.strerror or error}".strip())
