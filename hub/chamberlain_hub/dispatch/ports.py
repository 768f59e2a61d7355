"""What the parts of dispatch work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chamberlain_hub.audit.port import Audit, Unaudited
from chamberlain_hub.dispatch.queues import Queues
from chamberlain_hub.metrics import HubMetrics
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.port import TopologyBroker


@dataclass(frozen=True, slots=True)
class Ports:
    """The hub's ways to the outside.

    Attributes:
        clock: returns UTC seconds.
        audit: what happened is noted here.
    """

    store: Store
    broker: TopologyBroker
    queues: Queues
    clock: Callable[[], float]
    audit: Audit = field(default_factory=Unaudited)
    metrics: HubMetrics = field(default_factory=HubMetrics)
