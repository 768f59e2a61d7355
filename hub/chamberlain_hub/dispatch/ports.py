"""What the parts of dispatch work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chamberlain_hub.dispatch.queues import Queues
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.port import TopologyBroker


@dataclass(frozen=True, slots=True)
class Ports:
    """The hub's ways to the outside.

    Attributes:
        clock: returns UTC seconds.
    """

    store: Store
    broker: TopologyBroker
    queues: Queues
    clock: Callable[[], float]
