"""What user endpoints claim of their tasks, in an audit log of its own: `tasks.log`.

The same chain as `audit.log`, in other files: however many tasks run, they push no decision
of the launcher out of what is kept. Lines are collected for a moment and go to the disk with
one write and one sync; the launcher stands in no task's way, so nothing waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chamberlain_endpoint.launcher.audit import AuditLog, Entry
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_wire.claims import Claim

BY: Final = "user endpoint"
"""Who says so: the account's own process. The launcher saw none of it."""

_COLLECT_S: Final = 0.25
_MOST_AT_ONCE: Final = 20_000


class TaskAudit:
    """Stamps claims and writes them in batches. Use it from the loop's thread."""

    def __init__(self, loop: Loop, log: AuditLog) -> None:
        self._loop = loop
        self._log = log
        self._waiting: list[Entry] = []
        self._is_timed = False

    def add(self, granted: Entry, claims: Iterable[Claim]) -> None:
        """Take what the user endpoint of `granted` says; on the disk a moment later."""
        self._waiting += [_stamped(granted, claim) for claim in claims]
        if len(self._waiting) >= _MOST_AT_ONCE:
            self.flush()
        elif not self._is_timed:
            self._is_timed = True
            self._loop.call_later(_COLLECT_S, self._on_time)

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._log.note_all(waiting)

    def _on_time(self) -> None:
        self._is_timed = False
        self.flush()


def _stamped(granted: Entry, claim: Claim) -> Entry:
    return Entry(
        "task",
        "noted",
        by=BY,
        outcome=claim.what.name.lower(),
        task=claim.task,
        function=claim.function,
        code_sha256=claim.code_sha256,
        job=claim.job,
        missed=claim.missed or None,
        identity=granted.identity,
        username=granted.username,
        user_endpoint=granted.user_endpoint,
        account=granted.account,
        uid=granted.uid,
    )
