"""Tells the launcher what happens to tasks, for the site's audit log. One thread.

Records go to a pipe that must never hold up a task: what the pipe does not take waits here,
what would wait for too long is left out, and the next record says how many were. The launcher
hangs up on whoever sends faster than agreed (`chamberlain_wire.claims`), so we stay below.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from typing import Final

from chamberlain_wire import claims
from chamberlain_wire.claims import Claim, What
from chamberlain_wire.ids import TaskId

log = logging.getLogger(__name__)

_MOST_WAITING: Final = 50_000
_AGAIN_S: Final = 0.05
_OUR_SHARE: Final = 0.9
"""Of the agreed rate: our clock and the launcher's need not agree to the last record."""
_PIPE_BYTES: Final = 64 * 1024
_MOST_HEAD_CHARS: Final = 20
NEVER: Final = float("inf")


class Claims:
    """What is to be told, in order.

    Args:
        fd: where to; ours from now on. None: nobody wants to know.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._about: dict[TaskId, tuple[str, str]] = {}
        self._last_code = ("", "")
        self._waiting = bytearray()
        self._missed = 0
        self._allowance = claims.Allowance(
            _OUR_SHARE * claims.RATE_PER_S,
            int(_OUR_SHARE * claims.BURST),
            now_s=time.monotonic(),
        )
        self.due_at = NEVER
        if fd is not None:
            os.set_blocking(fd, False)

    def received(self, task_id: TaskId, function: str, buffer: str) -> None:
        """A task came.

        Args:
            function: its function's id; empty: not known.
            buffer: packed function and payload.
        """
        if self._fd is not None:
            self._about[task_id] = (function, self._digest(buffer))
            self._note(What.RECEIVED, task_id)

    def started(self, task_id: TaskId) -> None:
        """The engine has it."""
        self._note(What.STARTED, task_id)

    def ended(self, task_id: TaskId, what: What, job: str = "") -> None:
        """Nothing more will happen to it.

        Args:
            job: the batch job that it ran in, as the worker told; empty: none, or not known.
        """
        self._note(what, task_id, job)
        self._about.pop(task_id, None)

    def forget(self, task_id: TaskId) -> None:
        """It will be somebody else's."""
        self._about.pop(task_id, None)

    def flush(self) -> None:
        """Write what the pipe takes now; `due_at` is when to call again."""
        self.due_at = NEVER
        if not self._waiting or self._fd is None:
            return
        size = claims.RECORD_BYTES
        # Whole records only where we can choose; where the pipe chose, the rest comes first.
        owed = len(self._waiting) % size
        count = self._allowance.left(now_s=time.monotonic())
        try:
            written = os.write(self._fd, self._waiting[: min(owed + count * size, _PIPE_BYTES)])
        except BlockingIOError:
            written = 0
        except OSError as error:
            log.warning(
                "the launcher takes no more claims",
                extra={"event": "claims.refused", "reason": str(error)},
            )
            self.close()
            return
        self._allowance.take(-(-max(written - owed, 0) // size))
        del self._waiting[:written]
        if self._waiting:
            self.due_at = time.monotonic() + _AGAIN_S

    def close(self) -> None:
        """Tell nothing any more."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._waiting.clear()
        self._about.clear()

    def _note(self, what: What, task_id: TaskId, job: str = "") -> None:
        if self._fd is None:
            return
        if len(self._waiting) >= _MOST_WAITING * claims.RECORD_BYTES:
            self._missed += 1
            return
        function, code = self._about.get(task_id, ("", ""))
        record = claims.pack(
            Claim(what, task_id, function, code, claims.job_that_fits(job), missed=self._missed)
        )
        self._missed = 0
        self._waiting += record

    def _digest(self, buffer: str) -> str:
        # Many tasks of one function come in a row.
        code = _code(buffer)
        if code != self._last_code[0]:
            self._last_code = (code, hashlib.sha256(code.encode()).hexdigest() if code else "")
        return self._last_code[1]


def _code(buffer: str) -> str:
    """Return the packed function as the hub keeps it, with the length that stands before it.

    It stands first in `buffer`; empty: that is no buffer.
    """
    head, newline, _ = buffer[:_MOST_HEAD_CHARS].partition("\n")
    if not newline or not (head.isascii() and head.isdigit()):
        return ""
    return buffer[: len(head) + 1 + int(head)]
