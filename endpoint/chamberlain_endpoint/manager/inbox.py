"""Commands from the broker: check, record the wish, then acknowledge.

A thread of its own, because the broker's may not wait for a disk.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chamberlain_endpoint.manager.commands import CommandRefusedError, read_command
from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.broker.port import Broker, Delivery
from chamberlain_wire.ids import EndpointId
from chamberlain_wire.limits import COMMAND_MAX_AGE_S

log = logging.getLogger(__name__)

_REMEMBER_S: Final = 2 * COMMAND_MAX_AGE_S
_CLEAN_EVERY: Final = 256


class Inbox:
    """Turns deliveries into wishes.

    Args:
        on_wish: told which user endpoint has a new wish, after it was recorded.
        on_fatal: told of an error that nothing here can help (the disk is full, say).
        clock: UTC seconds.
    """

    def __init__(
        self,
        records: Records,
        *,
        on_wish: Callable[[EndpointId], None],
        on_fatal: Callable[[BaseException], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._on_wish = on_wish
        self._on_fatal = on_fatal
        self._clock = clock
        self._endpoint = EndpointId("")
        self._keys: tuple[Ed25519PublicKey, ...] = ()
        self._waiting: queue.SimpleQueue[tuple[Broker, Delivery] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._taken = 0

    def serve_as(self, endpoint: EndpointId, keys: tuple[Ed25519PublicKey, ...]) -> None:
        """Believe commands for `endpoint` that one of `keys` signed, from now on."""
        self._endpoint, self._keys = endpoint, keys

    def open(self) -> None:
        """Begin to take deliveries."""
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the delivery at hand; the broker keeps the others for the next start."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def put(self, broker: Broker, delivery: Delivery) -> None:
        """Take over `delivery`, to be acknowledged on `broker`. Any thread; never waits."""
        self._waiting.put((broker, delivery))

    def take(self, broker: Broker, delivery: Delivery) -> None:
        """Deal with one delivery: a wish is recorded, all else is dropped with its reason."""
        now = self._clock()
        try:
            wish = read_command(delivery, endpoint=self._endpoint, keys=self._keys, now=now)
        except CommandRefusedError as error:
            log.warning(
                "command refused",
                extra={
                    "event": "command.refused",
                    "code": error.code,
                    "reason": str(error),
                    "size_bytes": len(delivery.body),
                },
            )
            broker.reject(delivery, requeue=False)
            return
        about = {"command": wish.command, "user_endpoint": wish.user_endpoint}
        if self._records.wish(wish, remember_until=now + _REMEMBER_S):
            log.info("endpoint wished", extra={"event": "endpoint.wished", **about})
            self._on_wish(wish.user_endpoint)
        else:
            # After a crash between record and acknowledgement this is the broker's honest
            # repeat; else somebody replays. Either way it starts nothing.
            log.warning("command repeated", extra={"event": "command.repeated", **about})
        broker.ack(delivery)
        self._taken += 1
        if self._taken % _CLEAN_EVERY == 0:
            self._records.forget_used(now)

    def _run(self) -> None:
        try:
            while (entry := self._waiting.get()) is not None:
                self.take(*entry)
        except Exception as error:  # noqa: BLE001 - the edge of a thread
            self._on_fatal(error)
