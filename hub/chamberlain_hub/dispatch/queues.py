"""Declares exchanges and queues, once each for as long as the broker keeps them.

All methods but `forget` wait for the broker; never call them from its thread. They raise
`LinkLostError` when there is no broker: go on without, the sweep declares again.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from chamberlain_wire import topology
from chamberlain_wire.broker.port import QueueDiffersError, QueueKind, TopologyBroker
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId

log = logging.getLogger(__name__)

_REMEMBERED: Final = 20_000


class Queues:
    """Knows which queues are there.

    Args:
        result_queue_expires_s: the broker deletes a task group's queue after so long without
            a consumer.
        quorum: whether new queues are copied to a majority of the brokers of a cluster. One of
            another kind that is there is made anew when nothing can be lost by that.

    Attributes:
        quorum: see above.
    """

    def __init__(
        self, broker: TopologyBroker, *, result_queue_expires_s: float, quorum: bool = False
    ) -> None:
        self._broker = broker
        self.quorum = quorum
        self._many = QueueKind.QUORUM if quorum else QueueKind.CLASSIC
        self._one = QueueKind.QUORUM_ONE_READER if quorum else QueueKind.CLASSIC
        self._expires_ms = int(result_queue_expires_s * 1000)
        # Well before it expires, so that a queue that we believe in is there.
        self._believe_s = result_queue_expires_s / 4
        self._lock = threading.Lock()
        self._declared: dict[str, float] = {}

    def shared(self) -> None:
        """Make the exchanges and the hub's own two queues."""
        for exchange in topology.EXCHANGES:
            self._broker.declare_exchange(exchange)
        for name, exchange in (
            (topology.RESULTS_QUEUE, topology.RESULTS),
            (topology.HEARTBEATS_QUEUE, topology.HEARTBEATS),
        ):
            self._declare(name, self._many, bind_to=(exchange, f"*.{name}"))

    def user_endpoint(self, user_endpoint: EndpointId) -> None:
        """Make the task queue of a user endpoint."""
        name = topology.task_queue(user_endpoint)
        self._once(name, bind_to=(topology.TASKS, name))

    def control(self, user_endpoint: EndpointId) -> None:
        """Make the control queue of a user endpoint."""
        self._once(topology.control_queue(user_endpoint))

    def endpoint(self, endpoint: EndpointId) -> None:
        """Make the command queue of an endpoint."""
        name = topology.command_queue(endpoint)
        self._once(name, bind_to=(topology.COMMANDS, name))

    def group(self, owner: IdentityId, group: TaskGroupId) -> None:
        """Make the result queue of a task group."""
        self._once(topology.group_queue(owner, group), kind=self._many, expires_ms=self._expires_ms)

    def empty_user_endpoint(self, user_endpoint: EndpointId) -> None:
        """Drop all that waits in the task queue of a user endpoint; the queue stays."""
        name = topology.task_queue(user_endpoint)
        self.forget(name)
        self._broker.delete_queue(name)
        self.user_endpoint(user_endpoint)

    def delete_user_endpoint(self, user_endpoint: EndpointId) -> None:
        """Delete the queues of a user endpoint."""
        self._delete(topology.task_queue(user_endpoint))
        self._delete(topology.control_queue(user_endpoint))

    def delete_endpoint(self, endpoint: EndpointId) -> None:
        """Delete the command queue of an endpoint."""
        self._delete(topology.command_queue(endpoint))

    def forget(self, name: str | None = None) -> None:
        """Believe no longer that the queue `name` is there (None: any queue). Never blocks."""
        with self._lock:
            if name is None:
                self._declared.clear()
            else:
                self._declared.pop(name, None)

    def _delete(self, name: str) -> None:
        self.forget(name)
        self._broker.delete_queue(name)

    def _once(
        self,
        name: str,
        *,
        kind: QueueKind | None = None,
        bind_to: tuple[str, str] | None = None,
        expires_ms: int | None = None,
    ) -> None:
        now = time.monotonic()
        with self._lock:
            declared = self._declared.get(name)
            if declared is not None and now - declared < self._believe_s:
                return
        self._declare(name, kind or self._one, bind_to=bind_to, expires_ms=expires_ms)
        with self._lock:
            if len(self._declared) >= _REMEMBERED:
                self._declared.clear()
            self._declared[name] = now

    def _declare(
        self,
        name: str,
        kind: QueueKind,
        *,
        bind_to: tuple[str, str] | None = None,
        expires_ms: int | None = None,
    ) -> None:
        def make() -> None:
            self._broker.declare_queue(name, bind_to=bind_to, expires_ms=expires_ms, kind=kind)

        try:
            make()
        except QueueDiffersError:
            # From before a change of the setting. Heartbeats and commands are said again.
            fleeting = name == topology.HEARTBEATS_QUEUE or name.endswith(f".{topology.COMMANDS}")
            try:
                self._broker.delete_queue(name, only_unused=not fleeting)
                make()
            except QueueDiffersError as error:
                log.warning(
                    "a queue is used, and stays of its old kind",
                    extra={"event": "queue.kept", "reason": f"{name}: {error}"},
                )
