"""The hub's housekeeping thread: looks after what no message will bring up again.

Everything it does, it does from the store, so it repairs what any lost message or crash has
left: tasks that were not published, open tasks whose user endpoint is gone, broker users that
nobody uses any more. Others hand it what takes too long for their own thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from chamberlain_hub.dispatch.credentials import Credentials
from chamberlain_hub.dispatch.tending import Tending
from chamberlain_hub.dispatch.unused_users import UnusedUsers
from chamberlain_wire.errors import ChamberlainError
from chamberlain_wire.ids import EndpointId

log = logging.getLogger(__name__)

_UNUSED_EVERY_S: Final = 60.0
# After a failed publish: not sooner than the outbox counts a task as left over.
_SOON_S: Final = 1.1

Job = Callable[[], object]


class Sweep:
    """One thread, one job at a time. All methods but `start` and `stop` never block.

    Args:
        resends: each sends again what the broker may not have.
        period_s: a full round every so many seconds.
        ready: tells whether the broker is there; without it, a round would do nothing.
    """

    def __init__(
        self,
        resends: Sequence[Job],
        tending: Tending,
        unused: UnusedUsers,
        credentials: Credentials,
        *,
        period_s: float,
        ready: Callable[[], bool],
    ) -> None:
        self._resends = resends
        self._tending = tending
        self._unused = unused
        self._credentials = credentials
        self._period_s = period_s
        self._ready = ready
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._next_round = 0.0
        self._next_unused = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        now = time.monotonic()
        self._next_round = now + self._period_s
        self._next_unused = now + _UNUSED_EVERY_S
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End after the job in hand. Safe to call twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def soon(self, job: Job) -> None:
        """Do `job` next."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def round_soon(self) -> None:
        """Begin a full round in about a second: something could not be sent."""
        with self._changed:
            self._next_round = min(self._next_round, time.monotonic() + _SOON_S)
            self._changed.notify()

    def endpoint_online(self, endpoint: EndpointId) -> None:
        """See `heartbeats.Aftercare`."""
        self.soon(partial(self._tending.tend_endpoint, endpoint))

    def start_ended(self, user_endpoint: EndpointId, command: str) -> None:
        """See `heartbeats.Aftercare`."""
        self.soon(partial(self._tending.tend, user_endpoint))
        self.soon(partial(self._credentials.end_command, user_endpoint, command))

    def user_endpoint_ended(self, user_endpoint: EndpointId, generation: int) -> None:
        """See `heartbeats.Aftercare`."""
        self.soon(partial(self._tending.tend, user_endpoint))
        self.soon(partial(self._credentials.end_user_endpoint, user_endpoint, up_to=generation))

    def tend(self, user_endpoint: EndpointId) -> None:
        """Look after one user endpoint next."""
        self.soon(partial(self._tending.tend, user_endpoint))

    def full_round(self) -> None:
        """Look after everything, in this thread."""
        if not self._ready():
            return
        for resend in self._resends:
            self._do(resend)
        self._do(self._tending.tend_all)
        if time.monotonic() >= self._next_unused:
            self._next_unused = time.monotonic() + _UNUSED_EVERY_S
            self._do(self._unused.revoke)

    def _run(self) -> None:
        while True:
            with self._changed:
                left_s = self._next_round - time.monotonic()
                while not (self._jobs or self._stopping) and left_s > 0:
                    self._changed.wait(left_s)
                    left_s = self._next_round - time.monotonic()
                if self._stopping:
                    return
                job = self._jobs.popleft() if self._jobs else None
                if job is None:
                    self._next_round = time.monotonic() + self._period_s
            if job is None:
                self.full_round()
            else:
                self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job()
        except ChamberlainError as error:
            # No broker or no database at the moment: the next round does it.
            log.warning(
                "sweep could not finish",
                extra={"event": "sweep.failed", "code": error.code, "reason": str(error)},
            )
        except Exception:  # edge of the thread
            log.exception("sweep failed", extra={"event": "sweep.failed"})
