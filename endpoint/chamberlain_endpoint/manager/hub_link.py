"""The manager's standing with the hub: registered, connected, consuming; and so again when
the broker no longer accepts the credential.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from chamberlain_endpoint.manager.hub_client import HubClient, Registration, StoppedError
from chamberlain_endpoint.manager.inbox import Inbox
from chamberlain_wire.broker.port import (
    AccessRefusedError,
    Broker,
    Delivery,
    Link,
    LinkLostError,
    OnLink,
    Outgoing,
)
from chamberlain_wire.logs import Secret
from chamberlain_wire.topology import HEARTBEATS, heartbeats_key

log = logging.getLogger(__name__)

_PREFETCH: Final = 64
_AGAIN_S: Final = (0.0, 1.0, 5.0, 15.0, 60.0)

MakeBroker = Callable[[Secret[str], OnLink], Broker]


class HubLink:
    """Keeps one valid broker connection, in a thread of its own.

    Args:
        make_broker: makes a connection, not yet open, for an address.
        amqp_port: port to use instead of the one that the hub names.
        on_up: told whenever reports can be sent again.
        on_fatal: told when the hub says no, and of what nothing here can help.
    """

    def __init__(
        self,
        hub: HubClient,
        inbox: Inbox,
        make_broker: MakeBroker,
        *,
        amqp_port: int | None,
        on_up: Callable[[], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._hub = hub
        self._inbox = inbox
        self._make_broker = make_broker
        self._amqp_port = amqp_port
        self._on_up = on_up
        self._on_fatal = on_fatal
        self.connected = False
        self.registered = False
        self._broker: Broker | None = None
        self._registration: Registration | None = None
        self._refused = threading.Event()
        self._stopping = threading.Event()
        self._served = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, registration: Registration) -> None:
        """Connect with the credential in `registration`, and keep connected."""
        self._adopt(registration)
        self._thread = threading.Thread(target=self._run, name="hub-link", daemon=True)
        self._thread.start()

    def stop_commands(self) -> None:
        """Take no more commands; reports still go out."""
        broker, registration = self._broker, self._registration
        if broker is not None and registration is not None:
            broker.cancel(registration.commands.queue)

    def close(self) -> None:
        """Send what is waiting, disconnect."""
        self._stopping.set()
        self._refused.set()
        if self._thread is not None:
            self._thread.join()
        if self._broker is not None:
            self._broker.close()

    def publish(self, report: bytes) -> Future[None]:
        """Send a report to the hub; the future ends when the broker has it."""
        broker, registration = self._broker, self._registration
        if broker is None or registration is None:
            lost: Future[None] = Future()
            lost.set_exception(LinkLostError("not connected to the broker"))
            return lost
        info = registration.heartbeats
        kwargs = info.queue_publish_kwargs or {}
        key = kwargs.get("routing_key") or heartbeats_key(registration.endpoint)
        exchange = kwargs.get("exchange") or info.exchange or HEARTBEATS
        return broker.publish(Outgoing(exchange=exchange, routing_key=key, body=report))

    def _adopt(self, registration: Registration) -> None:
        self._registration = registration
        self.registered = True
        self._inbox.serve_as(registration.endpoint, registration.keys)

    def _run(self) -> None:
        refusals = 0
        try:
            while not self._stopping.is_set():
                self._served.clear()
                self._serve()
                refusals = 0 if self._served.is_set() else refusals + 1
                delay_s = _AGAIN_S[min(refusals, len(_AGAIN_S) - 1)]
                if self._stopping.wait(delay_s):
                    return
                self.registered = False
                log.info("registering again", extra={"event": "hub.registering_again"})
                self._adopt(self._hub.register())
        except StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - the edge of a thread
            self._on_fatal(error)

    def _serve(self) -> None:
        """Live with one credential, until it is refused or we stop."""
        registration = self._registration
        assert registration is not None
        self._refused.clear()
        if self._stopping.is_set():
            return
        address = with_port(registration.commands.connection_url, self._amqp_port)
        broker = self._make_broker(Secret(address), self._on_link)

        def on_delivery(delivery: Delivery) -> None:
            self._inbox.put(broker, delivery)

        broker.consume(registration.commands.queue, on_delivery, prefetch=_PREFETCH, exclusive=True)
        self._broker = broker
        try:
            broker.open()
        except AccessRefusedError:
            self._refused.set()
        except LinkLostError as error:
            log.warning(
                "broker does not answer yet", extra={"event": "broker.away", "reason": str(error)}
            )
        self._refused.wait()
        if not self._stopping.is_set():
            broker.close()

    def _on_link(self, link: Link) -> None:
        self.connected = link is Link.UP
        match link:
            case Link.UP:
                self._served.set()
                self._on_up()
            case Link.REFUSED:
                self._refused.set()
            case Link.DOWN:
                pass


def with_port(address: str, port: int | None) -> str:
    """Return the broker's `address` with another port; unchanged when `port` is None."""
    if port is None:
        return address
    parts = urlsplit(address)
    user, at, _ = parts.netloc.rpartition("@")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}:{port}"))
