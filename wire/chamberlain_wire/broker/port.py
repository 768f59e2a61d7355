"""What we ask of a message broker.

A `Broker` owns one connection and keeps it: when it is lost, it reconnects with growing
delays, consumes again and says so. What was not confirmed or acknowledged at the loss is
**not** repaired here: unconfirmed publishes fail with `LinkLostError` and unacknowledged
deliveries come again. Who publishes has written the message down first (the rule "write,
then acknowledge") and sends it again when the link is up.

All callbacks run in the broker's own thread, one at a time: do little, never block, never
wait there for a publish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from chamberlain_wire.errors import ChamberlainError, ErrorCode


class BrokerError(ChamberlainError):
    """Root of what a broker can answer."""

    code = ErrorCode.BROKER
    public = "The message broker did not do what was asked."


class LinkLostError(BrokerError):
    """There is no connection, or it went before the broker confirmed. Send again later."""

    public = "The message broker cannot be reached at the moment. Try again."


class UnroutableError(BrokerError):
    """The broker took the message back: no queue wants it. Sending again will not help."""


class AccessRefusedError(BrokerError):
    """The broker refuses this principal or this queue. Get a new credential, or end."""


class QueueDiffersError(BrokerError):
    """A queue of that name is of another kind, or may not be deleted yet. Use it as it is."""


class QueueKind(StrEnum):
    """Where a queue lives, and who may read it.

    `CLASSIC`: on one broker; an exclusive consumer keeps others out.
    `QUORUM`: on a majority of the brokers of a cluster, of which any one may end. Such queues do
        not know exclusive consumers.
    `QUORUM_ONE_READER`: the same, and only one consumer at a time gets anything: the next one
        waits until it is gone, which is what exclusive consumers are for.
    """

    CLASSIC = "classic"
    QUORUM = "quorum"
    QUORUM_ONE_READER = "quorum_one_reader"


class Link(StrEnum):
    """What happens to the connection.

    `REFUSED` is final: the credential is no longer valid, the broker will not reconnect.
    """

    UP = "up"
    DOWN = "down"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. Always persistent, always confirmed.

    Attributes:
        exchange: empty for the default exchange, whose routing key is a queue's name.
        timestamp: UTC seconds, or None.
        expiration_ms: how long it may wait in a queue, or None for ever.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    timestamp: int | None = None
    expiration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that came. It is ours until we acknowledge or reject it.

    Attributes:
        timestamp: UTC seconds as the sender gave it, or None.
        redelivered: it may have been seen before.
        tag: the adaptor's own handle; only good on the connection it came on.
    """

    queue: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any]
    content_type: str | None
    timestamp: int | None
    redelivered: bool
    tag: tuple[int, int]


OnDelivery = Callable[[Delivery], None]
OnLink = Callable[[Link], None]


class Broker(Protocol):
    """One connection to the broker, as one principal. Thread-safe."""

    def open(self, *, timeout_s: float = 10.0) -> None:
        """Connect and return when the link is up.

        Raises:
            AccessRefusedError: the credential is not accepted.
            LinkLostError: nobody answered in time; it goes on trying in the background
                until `close`.
        """

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Send what is waiting, close, end the thread. Safe to call twice."""

    def publish(self, message: Outgoing) -> Future[None]:
        """Send `message`; the future ends when the broker confirmed it.

        The future fails with `LinkLostError` or `UnroutableError`.
        """

    def consume(
        self, queue: str, on_delivery: OnDelivery, *, prefetch: int = 0, exclusive: bool = False
    ) -> None:
        """Deliver what comes on `queue` to `on_delivery`, now and after each reconnect.

        Args:
            prefetch: most unacknowledged messages at a time; 0 is no limit.
            exclusive: refuse other consumers of the queue.
        """

    def cancel(self, queue: str) -> None:
        """Stop consuming `queue`; what is not acknowledged yet may still be acknowledged."""

    def ack(self, delivery: Delivery) -> None:
        """Tell the broker that `delivery` is done. No effect when its connection is gone."""

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        """Give `delivery` back (`requeue`) or drop it. No effect when its connection is gone."""


class TopologyBroker(Broker, Protocol):
    """What only the hub may do: declare and delete. Each waits for the broker's answer and
    raises `LinkLostError` when there is none within 10 s. Never call from a callback."""

    def declare_exchange(self, name: str) -> None:
        """Make the durable topic exchange `name`, if it is not there."""

    def declare_queue(
        self,
        name: str,
        *,
        bind_to: tuple[str, str] | None = None,
        expires_ms: int | None = None,
        kind: QueueKind = QueueKind.CLASSIC,
    ) -> None:
        """Make the durable queue `name`, if it is not there.

        Args:
            bind_to: (exchange, routing key pattern) to bind it to.
            expires_ms: the broker deletes it after so long without a consumer.

        Raises:
            QueueDiffersError: there is one of another kind.
        """

    def delete_queue(self, name: str, *, only_unused: bool = False) -> None:
        """Delete the queue `name` with what is in it, if it is there.

        Args:
            only_unused: but not when there is something in it, or somebody consumes it.

        Raises:
            QueueDiffersError: it is used, and `only_unused` was asked for.
        """
