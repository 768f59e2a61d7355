"""The three kinds of channel that one RabbitMQ connection has, each with its own book.

All methods run in the broker's thread, except those that say otherwise.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import pika

from chamberlain_wire.broker.port import (
    BrokerError,
    Delivery,
    LinkLostError,
    OnDelivery,
    Outgoing,
    QueueDiffersError,
    UnroutableError,
)

log = logging.getLogger(__name__)

_RETRY_S: Final = 0.5
_ACCESS_REFUSED: Final = 403
_PRECONDITION_FAILED: Final = 406


class PublishChannel:
    """Publishes with confirms; knows which future belongs to which message.

    `put`, `wait_empty`: any thread.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._waiting: deque[tuple[Outgoing, Future[None]]] = deque()
        self._unconfirmed: dict[int, Future[None]] = {}
        self._returned: set[int] = set()
        self._next = 1
        self._lost = False
        self._empty = threading.Condition()

    @classmethod
    def open(cls, connection: Any, on_ready: Callable[[PublishChannel], None]) -> None:
        """Open a channel in confirm mode and hand the finished object to `on_ready`."""

        def opened(channel: Any) -> None:
            self = cls(channel)
            channel.add_on_return_callback(self._on_return)
            # Without this channel the connection is of no use: begin again.
            channel.add_on_close_callback(lambda *_: _close(connection))
            channel.confirm_delivery(self._on_confirm, callback=lambda _: on_ready(self))

        connection.channel(on_open_callback=opened)

    def put(self, message: Outgoing, future: Future[None]) -> bool:
        """Queue `message`; True when somebody must call `flush` (any thread)."""
        with self._empty:
            if not self._lost:
                self._waiting.append((message, future))
                return len(self._waiting) == 1
        future.set_exception(LinkLostError("not connected to the broker"))
        return False

    def wait_empty(self, timeout_s: float) -> None:
        """Wait until all is confirmed, or `timeout_s` (any thread)."""
        with self._empty:
            self._empty.wait_for(lambda: not (self._waiting or self._unconfirmed), timeout_s)

    def flush(self) -> None:
        """Send what waits."""
        with self._empty:
            waiting, self._waiting = self._waiting, deque()
            numbered = list(enumerate(waiting, self._next))
            self._unconfirmed.update((number, future) for number, (_, future) in numbered)
            self._next += len(numbered)
        for number, (message, _) in numbered:
            self._channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                pika.BasicProperties(
                    content_type=message.content_type,
                    delivery_mode=2,
                    headers=dict(message.headers),
                    timestamp=message.timestamp,
                    expiration=(
                        None if message.expiration_ms is None else str(message.expiration_ms)
                    ),
                    # A returned message names itself by this; confirms only by number.
                    message_id=str(number),
                ),
                mandatory=True,
            )

    def lost(self) -> None:
        """Fail all that is open; the connection is gone."""
        with self._empty:
            self._lost = True
            open_ones = [*self._unconfirmed.values(), *(future for _, future in self._waiting)]
            self._unconfirmed.clear()
            self._waiting.clear()
            self._empty.notify_all()
        for future in open_ones:
            future.set_exception(LinkLostError("the connection went before the broker confirmed"))

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        self._returned.add(int(properties.message_id))

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tag: int = method.delivery_tag
        with self._empty:
            # Dicts keep order, and numbers grow: stop at the first that is not meant.
            numbers = []
            if method.multiple:
                for number in self._unconfirmed:
                    if number > tag:
                        break
                    numbers.append(number)
            elif tag in self._unconfirmed:
                numbers.append(tag)
            confirmed = [(number, self._unconfirmed.pop(number)) for number in numbers]
            if not self._unconfirmed:
                self._empty.notify_all()
        for number, future in confirmed:
            if number in self._returned:
                self._returned.discard(number)
                future.set_exception(UnroutableError("no queue takes this message"))
            elif isinstance(method, pika.spec.Basic.Nack):
                future.set_exception(LinkLostError("the broker could not store the message"))
            else:
                future.set_result(None)


class ConsumerChannel:
    """Consumes one queue, and goes on doing so. `put_ack`: any thread."""

    def __init__(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch: int,
        exclusive: bool,
        on_refused: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._on_delivery = on_delivery
        self._prefetch = prefetch
        self._exclusive = exclusive
        self._on_refused = on_refused
        self._connection: Any = None
        self._channel: Any = None
        self._consumer_tag: str | None = None
        # Counts channels: a tag of an earlier channel must never acknowledge on a later one.
        self._generation = 0
        self._cancelled = False
        self._acks: deque[tuple[int, int]] = deque()

    def attach(self, connection: Any) -> None:
        """Open a channel on `connection` and consume."""
        if self._cancelled or connection is not self._connection:
            self._connection = connection
        if not self._cancelled and self._channel is None:
            connection.channel(on_open_callback=self._on_channel)

    def lost(self) -> None:
        """Forget the channel; its connection is gone."""
        self._connection = self._channel = self._consumer_tag = None
        self._acks.clear()

    def cancel(self) -> None:
        """Take no more; what was taken may still be acknowledged."""
        self._cancelled = True
        if self._channel is not None and self._channel.is_open and self._consumer_tag:
            self._channel.basic_cancel(self._consumer_tag)

    def put_ack(self, tag: tuple[int, int]) -> bool:
        """Queue an acknowledgement; True when somebody must call `flush_acks` (any thread)."""
        self._acks.append(tag)
        return len(self._acks) == 1

    def flush_acks(self) -> None:
        """Send the acknowledgements that wait."""
        while self._acks:
            generation, number = self._acks.popleft()
            if generation == self._generation and self._open():
                self._channel.basic_ack(number)

    def reject(self, tag: tuple[int, int], requeue: bool) -> None:
        """Give one delivery back, or drop it."""
        generation, number = tag
        if generation == self._generation and self._open():
            self._channel.basic_reject(number, requeue=requeue)

    def _open(self) -> bool:
        return self._channel is not None and bool(self._channel.is_open)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._generation += 1
        channel.add_on_close_callback(self._on_close)
        if not channel.is_open:
            # We closed the connection meanwhile. A call would raise inside pika, which would
            # take that for a fault of the network, and say so loudly.
            return
        channel.add_on_cancel_callback(lambda _: channel.close(200, "queue went away"))
        channel.basic_qos(
            prefetch_count=self._prefetch,
            callback=lambda _: self._start(channel),
        )

    def _start(self, channel: Any) -> None:
        if not channel.is_open:
            return
        self._consumer_tag = channel.basic_consume(
            self._queue, self._on_message, exclusive=self._exclusive
        )

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._on_delivery(
            Delivery(
                queue=self._queue,
                routing_key=method.routing_key,
                body=body,
                headers=properties.headers or {},
                content_type=properties.content_type,
                timestamp=properties.timestamp,
                redelivered=method.redelivered,
                tag=(self._generation, method.delivery_tag),
            )
        )

    def _on_close(self, _channel: Any, reason: BaseException) -> None:
        self._channel = self._consumer_tag = None
        connection = self._connection
        if connection is None or self._cancelled or not connection.is_open:
            return
        code, text = getattr(reason, "reply_code", 0), getattr(reason, "reply_text", "")
        if code == _ACCESS_REFUSED and "exclusive use" not in text:
            self._on_refused(f"{code} {text}")
            return
        log.warning(
            "consumer closed, trying again",
            extra={"event": "broker.consumer_closed", "reason": f"{code} {text}"},
        )
        connection.ioloop.call_later(_RETRY_S, lambda: self._again(connection))

    def _again(self, connection: Any) -> None:
        if self._connection is connection and connection.is_open and self._channel is None:
            self.attach(connection)


class AdminChannel:
    """Declares and deletes, one question at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._channel: Any = None
        self._waiting: deque[tuple[Callable[[Any, Callable[[Any], None]], None], Future[None]]]
        self._waiting = deque()
        self._asked: Future[None] | None = None

    def ask(self, ask: Callable[[Any, Callable[[Any], None]], None], answer: Future[None]) -> None:
        """Put a question; `answer` ends with the broker's answer."""
        self._waiting.append((ask, answer))
        if self._channel is None:
            if len(self._waiting) == 1 and self._asked is None:
                self._connection.channel(on_open_callback=self._on_channel)
        else:
            self._next()

    def lost(self) -> None:
        """Fail all open questions; the connection is gone."""
        self._fail(LinkLostError("the connection went before the broker answered"))
        while self._waiting:
            self._waiting.popleft()[1].set_exception(LinkLostError("the connection went"))

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_close)
        self._next()

    def _next(self) -> None:
        if self._asked is None and self._waiting and self._channel is not None:
            ask, self._asked = self._waiting.popleft()
            ask(self._channel, self._on_answer)

    def _on_answer(self, _frame: Any) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_result(None)
        self._next()

    def _on_close(self, _channel: Any, reason: BaseException) -> None:
        self._channel = None
        differs = getattr(reason, "reply_code", 0) == _PRECONDITION_FAILED
        kind = QueueDiffersError if differs else BrokerError
        self._fail(kind(f"the broker refused: {reason}"))
        if self._waiting and self._connection.is_open:
            self._connection.channel(on_open_callback=self._on_channel)

    def _fail(self, error: BrokerError) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_exception(error)


def _close(connection: Any) -> None:
    if not (connection.is_closing or connection.is_closed):
        connection.close()
