"""Every refusal in the audit log, with whoever was refused as far as that is known.

Whoever has no token at all must not be able to push the log's older lines out of it: of such
refusals so many a minute have a line, and the next line counts the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from chamberlain_hub.audit.entry import REFUSED, Action, Entry, Who, caller
from chamberlain_hub.audit.port import Audit
from chamberlain_hub.domain.identity import Principal

STRANGERS_A_MINUTE: Final = 60
_PATH_CHARS: Final = 200
_TOLD: Final = (401, 403)


class Refusals:
    """Brings refusals to `audit`. Thread-safe, never blocks."""

    def __init__(self, audit: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._told = 0
        self._left_out = 0

    def note(self, request: Request, source: str, *, status: int, code: str, reason: str) -> None:
        """Note that `request` was refused; reads that found nothing are left out."""
        if status >= 500 or (request.method == "GET" and status not in _TOLD):
            return
        principal: Principal | None = getattr(request.state, "principal", None)
        count = self._left_out_before() if principal is None else 0
        if count is None:
            return
        self._audit.put(
            Entry(
                action=Action.REQUEST,
                outcome=REFUSED,
                who=Who(source=source) if principal is None else caller(principal, source),
                route=f"{request.method} {request.url.path[:_PATH_CHARS]}",
                code=code,
                reason=reason,
                count=count or None,
            )
        )

    def _left_out_before(self) -> int | None:
        """Return how many strangers had no line before this one; None: nor has this one."""
        with self._lock:
            now = self._clock()
            if now - self._since >= 60:
                self._since, self._told = now, 0
            if self._told >= STRANGERS_A_MINUTE:
                self._left_out += 1
                return None
            self._told += 1
            count, self._left_out = self._left_out, 0
            return count
