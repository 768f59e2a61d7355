"""What the hub orders by the control queue, and whether all of it has been heard.

A task that was cancelled while this user endpoint was away still lies in its task queue. So
after each time that the link comes up we ask for the roll of what was cancelled meanwhile, and
start nothing before the answer; or before `_PATIENCE_S` are over, should the hub be away.
"""

from __future__ import annotations

import logging
from typing import Final

from chamberlain_wire.broker.port import Broker, Delivery
from chamberlain_wire.codec import decode
from chamberlain_wire.errors import InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import TaskId, new_id, parse_task_id
from chamberlain_wire.limits import MAX_STATUS_BYTES
from chamberlain_wire.messages import ControlOrder

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 10.0


class Control:
    """One thread.

    Args:
        queue: empty when the hub has none for us; then there is nothing to wait for.
    """

    def __init__(self, broker: Broker, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self.roll = ""
        self.waits_until: float | None = None
        self._read: list[Delivery] = []

    def ask(self, *, now_s: float) -> None:
        """Ask anew: the word in `roll` goes into the next heartbeat."""
        if self._queue:
            self.roll = new_id()
            self.waits_until = now_s + _PATIENCE_S

    def waits(self, *, now_s: float) -> bool:
        """Tell whether the answer is awaited still."""
        if self.waits_until is not None and now_s >= self.waits_until:
            log.warning("nobody tells what was cancelled", extra={"event": "control.silent"})
            self.waits_until = None
        return self.waits_until is not None

    def is_order(self, delivery: Delivery) -> bool:
        """Tell whether `delivery` came by the control queue."""
        return delivery.queue == self._queue

    def read(self, delivery: Delivery) -> list[TaskId]:
        """Return the tasks that are to be ended. `done` follows when that is written down."""
        self._read.append(delivery)
        try:
            order = decode(delivery.body, ControlOrder, max_bytes=MAX_STATUS_BYTES)
            task_ids = [parse_task_id(text) for text in order.cancel]
        except (InvalidMessageError, InvalidIdError) as error:
            log.warning("not an order", extra={"event": "control.dropped", "reason": str(error)})
            return []
        if self.roll and order.roll == self.roll:
            self.roll = ""
            self.waits_until = None
        return task_ids

    def done(self) -> None:
        """Acknowledge what was read."""
        for delivery in self._read:
            self._broker.ack(delivery)
        self._read.clear()
