"""Wires the parts of dispatch together, and starts and stops them in the right order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chamberlain_hub.audit.port import Audit, Unaudited
from chamberlain_hub.dispatch.broker_users import BrokerUsers
from chamberlain_hub.dispatch.cancellations import Cancellations
from chamberlain_hub.dispatch.commands import Commands
from chamberlain_hub.dispatch.credentials import BrokerAddress, Credentials
from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.heartbeats import PREFETCH as HEARTBEATS_PREFETCH
from chamberlain_hub.dispatch.heartbeats import Heartbeats
from chamberlain_hub.dispatch.left_behind import LeftBehind
from chamberlain_hub.dispatch.outbox import Outbox
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.dispatch.queues import Queues
from chamberlain_hub.dispatch.results import PREFETCH as RESULTS_PREFETCH
from chamberlain_hub.dispatch.results import Results
from chamberlain_hub.dispatch.retention import Retention, Terms
from chamberlain_hub.dispatch.sweep import Sweep
from chamberlain_hub.dispatch.tending import Tending
from chamberlain_hub.dispatch.unused_users import UnusedUsers
from chamberlain_hub.metrics import HubMetrics
from chamberlain_hub.store.store import Store
from chamberlain_wire import topology
from chamberlain_wire.broker.port import (
    AccessRefusedError,
    BrokerError,
    Link,
    OnLink,
    TopologyBroker,
)

log = logging.getLogger(__name__)

_OPEN_S: Final = 3.0

Connect = Callable[[OnLink], TopologyBroker]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchSettings:
    """What dispatch may be told; see `config.HubSettings`.

    Attributes:
        clock: returns UTC seconds.
    """

    address: BrokerAddress
    clock: Callable[[], float] = time.time
    start_timeout_s: float = 120.0
    sweep_period_s: float = 5.0
    session_idle_s: float = 600.0
    result_queue_expires_s: float = 86400.0
    quorum_queues: bool = False
    keep: Terms = field(default_factory=Terms)
    audit: Audit = field(default_factory=Unaudited)
    metrics: HubMetrics = field(default_factory=HubMetrics)


class Dispatcher:
    """All that moves between the store and the broker.

    Args:
        connect: makes the hub's own broker connection, not opened yet.
        key: signs assertions.
        on_refused: called, in any thread, when the broker does not accept the hub any more;
            nothing can be done then but to end.

    Attributes:
        outbox, queues, commands, credentials, failures, cancellations, sweep: for the parts above.
        metrics: what Prometheus may know.
        link_up: whether the broker is there at this moment.
    """

    def __init__(
        self,
        store: Store,
        connect: Connect,
        users: BrokerUsers,
        key: Ed25519PrivateKey,
        settings: DispatchSettings,
        *,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        clock = settings.clock
        self.metrics = settings.metrics
        self.link_up = False
        self._on_refused = on_refused
        self._consuming = False
        self._clock = clock
        self._listening_since: float | None = None
        self._users = users
        self._broker = broker = connect(self._on_link)
        self.queues = Queues(
            broker,
            result_queue_expires_s=settings.result_queue_expires_s,
            quorum=settings.quorum_queues,
        )
        ports = Ports(store, broker, self.queues, clock, settings.audit, settings.metrics)
        self.credentials = Credentials(store, users, settings.address, clock=clock)
        self.outbox = Outbox(ports, on_trouble=self._send_again_soon)
        self.commands = Commands(
            ports,
            self.credentials,
            key,
            start_timeout_s=settings.start_timeout_s,
            on_trouble=self._send_again_soon,
        )
        self.failures = Failures(ports, self.outbox)
        self.cancellations = Cancellations(ports)
        left_behind = LeftBehind(
            ports,
            self.credentials,
            self.failures,
            connect=lambda: connect(lambda _link: None),
            listening_since=lambda: self._listening_since,
        )
        self.sweep = Sweep(
            (self.outbox.resend, self.cancellations.resend),
            Tending(ports, self.commands, self.failures, left_behind),
            [
                UnusedUsers(
                    ports, users, self.credentials, session_idle_s=settings.session_idle_s
                ).revoke,
                Retention(ports, self.failures, settings.keep).round,
            ],
            self.credentials,
            period_s=settings.sweep_period_s,
            ready=lambda: self.link_up,
        )
        self._results = Results(ports, self.cancellations)
        self._heartbeats = Heartbeats(ports, self.commands, self.cancellations, self.sweep)

    def start(self) -> None:
        """Connect and begin; without a broker it goes on trying in the background.

        Raises:
            AccessRefusedError: the broker does not accept the hub's own credential.
        """
        self.outbox.start()
        self.cancellations.start()
        self._results.start()
        self._heartbeats.start()
        self.sweep.start()
        try:
            # First: a connection to a virtual host that is not there is refused for good.
            self._users.prepare()
        except BrokerError as error:
            _log_absent(error)
        try:
            self._broker.open(timeout_s=_OPEN_S)
        except AccessRefusedError:
            self._on_refused()
            self.stop()
            raise
        except BrokerError as error:
            _log_absent(error)

    def stop(self) -> None:
        """Finish the batches in hand, then close the connection. Safe to call twice."""
        if self._consuming:
            self._broker.cancel(topology.RESULTS_QUEUE)
            self._broker.cancel(topology.HEARTBEATS_QUEUE)
        self.sweep.stop()
        self._results.stop()
        self._heartbeats.stop()
        self.outbox.stop()
        self.cancellations.stop()
        self._broker.close()
        self._users.close()

    def _send_again_soon(self) -> None:
        self.sweep.round_soon()

    def _on_link(self, link: Link) -> None:
        # In the broker's thread. A broker that comes back may have forgotten everything.
        self.link_up = link is Link.UP
        self._listening_since = self._clock() if self.link_up else None
        self.queues.forget()
        if link is Link.UP:
            self.sweep.soon(self._prepare_broker)
        elif link is Link.REFUSED:
            log.error("the broker refuses the hub", extra={"event": "hub.refused"})
            self._on_refused()

    def _prepare_broker(self) -> None:
        self.queues.shared()
        if not self._consuming:
            self._consuming = True
            self._broker.consume(
                topology.RESULTS_QUEUE, self._results.take, prefetch=RESULTS_PREFETCH
            )
            self._broker.consume(
                topology.HEARTBEATS_QUEUE, self._heartbeats.take, prefetch=HEARTBEATS_PREFETCH
            )
        log.info("broker ready", extra={"event": "broker.ready"})
        self.sweep.full_round()


def _log_absent(error: BrokerError) -> None:
    log.warning("no broker yet", extra={"event": "broker.absent", "reason": str(error)})
