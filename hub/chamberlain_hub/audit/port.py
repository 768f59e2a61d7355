"""What the parts of the hub need of an audit log, and one that keeps nothing."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from chamberlain_hub.audit.entry import Entry
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class AuditError(ChamberlainError):
    """The audit log cannot be written. Do nothing of what it should have told."""

    code = ErrorCode.UNAVAILABLE
    public = "The hub cannot write its audit log at the moment and accepts nothing. Try again."


class Audit(Protocol):
    """Where entries go. Thread-safe."""

    def put(self, *entries: Entry) -> Future[None]:
        """Bring entries; never blocks. The future is done when they are on the disk.

        Its error is `AuditError`, where the site chose to refuse what cannot be noted.
        """

    def note(self, *entries: Entry) -> None:
        """Bring entries and wait until they are on the disk.

        Raises:
            AuditError: as above.
        """


class Unaudited:
    """Keeps nothing: for those parts of the tests that are not about the audit log."""

    def put(self, *entries: Entry) -> Future[None]:
        """Forget the entries."""
        answer: Future[None] = Future()
        answer.set_result(None)
        return answer

    def note(self, *entries: Entry) -> None:
        """Forget the entries."""
