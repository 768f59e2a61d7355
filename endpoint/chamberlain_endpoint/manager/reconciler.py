"""Who does the steps, and when: several user endpoints at once, each one in order.

A few worker threads take user endpoints from one queue. One that a worker holds is not given
to another, so the steps of one user endpoint never overlap; a slow one holds up nobody else.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from chamberlain_endpoint.launcher.client import LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import Ended
from chamberlain_endpoint.manager.life import retry_delay_s
from chamberlain_endpoint.manager.records import Records, Wish
from chamberlain_endpoint.manager.steps import Steps
from chamberlain_wire.ids import EndpointId

log = logging.getLogger(__name__)

_WORKERS: Final = 8


class Reconciler:
    """Brings the world to what was wished.

    Args:
        on_fatal: told of an error that nothing here can help.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        steps: Steps,
        records: Records,
        *,
        on_fatal: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = steps
        self._records = records
        self._on_fatal = on_fatal
        self._clock = clock
        self._changed = threading.Condition()
        self._ready: deque[EndpointId] = deque()
        self._due_at: dict[EndpointId, float] = {}
        self._busy: set[EndpointId] = set()
        self._again: set[EndpointId] = set()
        self._ends: defaultdict[EndpointId, list[Ended]] = defaultdict(list)
        self._failures: defaultdict[EndpointId, int] = defaultdict(int)
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Begin, with what earlier lives of this process left to do."""
        self.poke_all()
        for number in range(_WORKERS):
            thread = threading.Thread(target=self._run, name=f"reconciler-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Finish the steps at hand; the records keep the rest. User endpoints go on."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def poke(self, user_endpoint: EndpointId) -> None:
        """Look at `user_endpoint` soon."""
        with self._changed:
            self._poke(user_endpoint)

    def poke_all(self) -> None:
        """Look at everything soon: the launcher is back, say."""
        with self._changed:
            self._failures.clear()
            self._due_at.clear()
            for wish in self._records.all():
                self._poke(wish.user_endpoint)

    def note_end(self, ended: Ended) -> None:
        """Note an end, after whatever is being done for that user endpoint."""
        user_endpoint = EndpointId(ended.user_endpoint)
        with self._changed:
            self._ends[user_endpoint].append(ended)
            self._poke(user_endpoint)

    def _poke(self, user_endpoint: EndpointId) -> None:
        if user_endpoint in self._busy:
            self._again.add(user_endpoint)
        elif user_endpoint not in self._ready:
            self._ready.append(user_endpoint)
            self._changed.notify()

    def _run(self) -> None:
        while (user_endpoint := self._take()) is not None:
            try:
                self._turn(user_endpoint)
            except sqlite3.Error as error:
                # Without records nothing more may be promised to anybody.
                self._on_fatal(error)
                return
            except Exception:
                # One user endpoint that we cannot deal with must not take the others along.
                log.exception(
                    "step failed, trying again",
                    extra={"event": "endpoint.stuck", "user_endpoint": user_endpoint},
                )
                self._retry(user_endpoint)
            finally:
                self._put_back(user_endpoint)

    def _take(self) -> EndpointId | None:
        with self._changed:
            while not self._stopping:
                now = self._clock()
                for user_endpoint in [one for one, at in self._due_at.items() if at <= now]:
                    del self._due_at[user_endpoint]
                    self._poke(user_endpoint)
                if self._ready:
                    user_endpoint = self._ready.popleft()
                    self._busy.add(user_endpoint)
                    return user_endpoint
                soonest = min(self._due_at.values(), default=None)
                self._changed.wait(None if soonest is None else soonest - now)
        return None

    def _put_back(self, user_endpoint: EndpointId) -> None:
        with self._changed:
            self._busy.discard(user_endpoint)
            if user_endpoint in self._again:
                self._again.discard(user_endpoint)
                self._poke(user_endpoint)

    def _turn(self, user_endpoint: EndpointId) -> None:
        with self._changed:
            ends = self._ends.pop(user_endpoint, [])
        for ended in ends:
            self._steps.note_end(ended)
        try:
            for wish in self._records.of(user_endpoint):
                step: Wish | None = wish
                while step is not None:
                    step = self._steps.step(step)
        except LauncherUnreachableError as error:
            log.warning(
                "launcher did not answer, trying again",
                extra={
                    "event": "launcher.unreachable",
                    "user_endpoint": user_endpoint,
                    "reason": str(error),
                },
            )
            self._retry(user_endpoint)
        else:
            with self._changed:
                self._failures.pop(user_endpoint, None)

    def _retry(self, user_endpoint: EndpointId) -> None:
        with self._changed:
            self._failures[user_endpoint] += 1
            failures = self._failures[user_endpoint]
            self._due_at[user_endpoint] = self._clock() + retry_delay_s(failures)
            self._changed.notify()
