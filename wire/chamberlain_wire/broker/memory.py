"""A broker in this process, for tests and single-process use. Ships with the package.

It keeps the promises of `port.Broker` and is held to them by the same contract suite as the
RabbitMQ adaptor (`tests/contract/test_broker.py`). One `MemoryServer` plays the broker
node; each `MemoryBroker` is one connection with a thread for its callbacks.
"""

from __future__ import annotations

import queue
import re
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count

from chamberlain_wire.broker.port import (
    Delivery,
    Link,
    LinkLostError,
    OnDelivery,
    OnLink,
    Outgoing,
    QueueKind,
    UnroutableError,
)


@dataclass(slots=True)
class _Queue:
    waiting: deque[tuple[Outgoing, bool]] = field(default_factory=deque)
    bindings: list[tuple[str, re.Pattern[str]]] = field(default_factory=list)


class MemoryServer:
    """The queues and exchanges that several `MemoryBroker` share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, _Queue] = {}
        self.consumers: dict[str, list[MemoryBroker]] = {}
        self.up = True

    def route(self, message: Outgoing) -> bool:
        """Put `message` where it belongs; False when no queue wants it."""
        with self.lock:
            names = [name for name in self.queues if self._wants(name, message)]
            for name in names:
                self.queues[name].waiting.append((message, False))
            for name in names:
                self.feed(name)
        return bool(names)

    def feed(self, name: str) -> None:
        """Hand what waits in `name` to its consumers, as their prefetch allows."""
        with self.lock:
            while (entry := self.queues.get(name)) and entry.waiting:
                taker = next((one for one in self.consumers.get(name, []) if one.free(name)), None)
                if taker is None:
                    return
                taker.take(name, *entry.waiting.popleft())

    def _wants(self, name: str, message: Outgoing) -> bool:
        if not message.exchange:
            return name == message.routing_key
        return any(
            exchange == message.exchange and pattern.fullmatch(message.routing_key)
            for exchange, pattern in self.queues[name].bindings
        )


class MemoryBroker:
    """One connection to a `MemoryServer`."""

    def __init__(self, server: MemoryServer, *, on_link: OnLink = lambda link: None) -> None:
        self._server = server
        self._on_link = on_link
        self._calls: queue.SimpleQueue[tuple[object, ...] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._consumers: dict[str, tuple[OnDelivery, int]] = {}
        self._unacked: dict[int, tuple[str, Outgoing]] = {}
        self._tags = count(1)
        self._generation = 0
        self._up = False

    def open(self, *, timeout_s: float = 10.0) -> None:
        """See `port.Broker.open`."""
        del timeout_s
        if not self._server.up:
            raise LinkLostError("the memory server is down")
        self._thread = threading.Thread(target=self._run, name="memory-broker", daemon=True)
        self._thread.start()
        self._connect()

    def close(self, *, timeout_s: float = 5.0) -> None:
        """See `port.Broker.close`."""
        self._disconnect()
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join(timeout_s)
            self._thread = None

    def publish(self, message: Outgoing) -> Future[None]:
        """See `port.Broker.publish`."""
        future: Future[None] = Future()
        if not self._up:
            future.set_exception(LinkLostError("not connected"))
        elif self._server.route(message):
            future.set_result(None)
        else:
            future.set_exception(UnroutableError(f"no queue for {message.routing_key}"))
        return future

    def consume(
        self, queue: str, on_delivery: OnDelivery, *, prefetch: int = 0, exclusive: bool = False
    ) -> None:
        """See `port.Broker.consume`. `exclusive` is not enforced here."""
        del exclusive
        self._consumers[queue] = (on_delivery, prefetch)
        if self._up:
            self._attach(queue)

    def cancel(self, queue: str) -> None:
        """See `port.Broker.cancel`."""
        self._consumers.pop(queue, None)
        self._detach(queue)

    def ack(self, delivery: Delivery) -> None:
        """See `port.Broker.ack`."""
        self._settle(delivery)

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        """See `port.Broker.reject`."""
        message = self._settle(delivery)
        if message is not None and requeue:
            with self._server.lock:
                self._server.queues[delivery.queue].waiting.appendleft((message, True))
                self._server.feed(delivery.queue)

    def drop_connection(self) -> None:
        """Lose the connection and get it back, as a network fault would."""
        self._disconnect()
        self._connect()

    def declare_exchange(self, name: str) -> None:
        """See `port.TopologyBroker.declare_exchange`. Exchanges need no memory here."""

    def declare_queue(
        self,
        name: str,
        *,
        bind_to: tuple[str, str] | None = None,
        expires_ms: int | None = None,
        kind: QueueKind = QueueKind.CLASSIC,
    ) -> None:
        """See `port.TopologyBroker.declare_queue`. `expires_ms`, `kind` are not enforced here."""
        del expires_ms, kind
        with self._server.lock:
            entry = self._server.queues.setdefault(name, _Queue())
            if bind_to is not None:
                exchange, key = bind_to
                entry.bindings.append((exchange, _pattern(key)))

    def delete_queue(self, name: str, *, only_unused: bool = False) -> None:
        """See `port.TopologyBroker.delete_queue`. `only_unused` is not enforced here."""
        del only_unused
        with self._server.lock:
            self._server.queues.pop(name, None)

    # The server calls these with its lock held.

    def free(self, name: str) -> bool:
        """Tell whether one more delivery of `name` fits the prefetch limit."""
        prefetch = self._consumers[name][1]
        return prefetch == 0 or sum(q == name for q, _ in self._unacked.values()) < prefetch

    def take(self, name: str, message: Outgoing, redelivered: bool) -> None:
        """Note `message` as ours until acknowledged and call the consumer, in our thread."""
        number = next(self._tags)
        self._unacked[number] = (name, message)
        delivery = Delivery(
            queue=name,
            routing_key=message.routing_key,
            body=message.body,
            headers=message.headers,
            content_type=message.content_type,
            timestamp=message.timestamp,
            redelivered=redelivered,
            tag=(self._generation, number),
        )
        self._calls.put((self._consumers[name][0], delivery))

    def _settle(self, delivery: Delivery) -> Outgoing | None:
        generation, number = delivery.tag
        with self._server.lock:
            if generation != self._generation or number not in self._unacked:
                return None
            _, message = self._unacked.pop(number)
            self._server.feed(delivery.queue)
            return message

    def _connect(self) -> None:
        with self._server.lock:
            self._generation += 1
            self._up = True
            self._calls.put((self._on_link, Link.UP))
            for name in self._consumers:
                self._attach(name)

    def _disconnect(self) -> None:
        with self._server.lock:
            if not self._up:
                return
            self._up = False
            for name in self._consumers:
                self._detach(name)
            touched = set()
            for number in sorted(self._unacked, reverse=True):
                name, message = self._unacked.pop(number)
                if name in self._server.queues:
                    self._server.queues[name].waiting.appendleft((message, True))
                    touched.add(name)
            self._calls.put((self._on_link, Link.DOWN))
            for name in touched:
                self._server.feed(name)

    def _attach(self, name: str) -> None:
        with self._server.lock:
            takers = self._server.consumers.setdefault(name, [])
            if self not in takers:
                takers.append(self)
            self._server.feed(name)

    def _detach(self, name: str) -> None:
        with self._server.lock:
            takers = self._server.consumers.get(name, [])
            if self in takers:
                takers.remove(self)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, argument = call
            function(argument)  # type: ignore[operator]


def _pattern(key: str) -> re.Pattern[str]:
    words = [{"*": r"[^.]+", "#": r".*"}.get(word, re.escape(word)) for word in key.split(".")]
    return re.compile(r"\.".join(words))
