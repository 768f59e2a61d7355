"""Heartbeats: here I am, and what happened since. Events do not wait for the next beat, and
neither does a change of what we say about ourselves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

from chamberlain_endpoint.manager.events import next_portion
from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.broker.port import BrokerError
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import EndpointId
from chamberlain_wire.messages import StatusReport

log = logging.getLogger(__name__)

_CONFIRM_S: Final = 10.0
_RETRY_S: Final = 1.0
_LOOK_S: Final = 2.0

Publish = Callable[[bytes], "Future[None]"]


class Heartbeat:
    """Beats from `open` to `close`.

    Args:
        period_s: from one beat to the next, when nothing happens.
        on_fatal: told of an error that nothing here can help.
        state: what the hub is to know beside the period; called every few seconds.
    """

    def __init__(
        self,
        records: Records,
        *,
        period_s: float,
        on_fatal: Callable[[BaseException], None],
        state: Callable[[], dict[str, str]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._publish: Publish | None = None
        self._period_s = period_s
        self._on_fatal = on_fatal
        self._state = state
        self._told: dict[str, str] = {}
        self._clock = clock
        self._endpoint = EndpointId("")
        self._changed = threading.Condition()
        self._due_at = clock() + period_s
        self._stopping = False
        self._thread: threading.Thread | None = None

    def open(self, endpoint: EndpointId, publish: Publish) -> None:
        """Begin to beat, as `endpoint`; the first beat is when `soon` is called.

        Args:
            publish: sends a report to the hub; its future ends when the broker has it.
        """
        self._endpoint, self._publish = endpoint, publish
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say good-bye (a period of 0), if the broker is there to hear it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._beat(period_s=0.0)

    def soon(self) -> None:
        """Beat now: there are events, or the link is up again. Any thread; never waits."""
        with self._changed:
            self._due_at = self._clock()
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._wait():
                if not self._beat(period_s=self._period_s):
                    with self._changed:
                        self._due_at = min(self._due_at, self._clock() + _RETRY_S)
        except Exception as error:  # noqa: BLE001 - the edge of a thread
            self._on_fatal(error)

    def _wait(self) -> bool:
        """Wait for the next beat; False when there is none because we stop."""
        with self._changed:
            while not self._stopping:
                wait_s = self._due_at - self._clock()
                if wait_s <= 0:
                    # Set before the beat: what happens during it makes another one due.
                    self._due_at = self._clock() + self._period_s
                    return True
                if not self._changed.wait(min(wait_s, _LOOK_S)) and self._state() != self._told:
                    self._due_at = self._clock()
        return False

    def _beat(self, *, period_s: float) -> bool:
        """Send one report; True when the broker has it and nothing is left to tell."""
        assert self._publish is not None
        numbers, events = next_portion(self._records)
        self._told = self._state()
        report = StatusReport(
            endpoint_id=self._endpoint,
            global_state={"heartbeat_period": period_s, **self._told},
            events=events,
        )
        try:
            self._publish(encode(report)).result(_CONFIRM_S)
        except (BrokerError, FutureTimeoutError) as error:
            log.warning(
                "heartbeat not sent",
                extra={
                    "event": "heartbeat.lost",
                    "count": len(events),
                    "reason": str(error) or type(error).__name__,
                },
            )
            return False
        self._records.drop_events(numbers)
        return not self._records.events(1)
