"""Ends what a user endpoint without a ledger took with it when it ended.

User endpoints of the public agent acknowledge a task when they have it and forget it when they
die, and nobody tells the hub. So when one is not heard of any more, the hub (1) takes away its
access to the broker, so that it can neither take nor answer another task; (2) looks through its
queue, which is nobody else's now; (3) ends every task that was sent and is not there any more.
What is there waits for the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from chamberlain_hub.dispatch.credentials import Credentials
from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import LOST_AFTER_PERIODS, UserEndpointEvent
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery, LinkLostError, Outgoing, TopologyBroker
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.states import UserEndpointState

log = logging.getLogger(__name__)

_SCAN_S: Final = 10.0
_QUORUM_PREFETCH: Final = 65_535
"""The most that can be asked for; without, a quorum queue gives 2,000 at a time."""
_QUORUM_QUIET_S: Final = 2.0
_LOST: Final = (
    "The user endpoint ended and had taken this task with it. It may have started, so it is not "
    "run again: submit it once more if that is harmless."
)


class LeftBehind:
    """Looks after the tasks of user endpoints that keep no ledger. Blocks.

    Args:
        connect: makes another broker connection of the hub's own, not opened yet.
        listening_since: UTC seconds since when the hub hears heartbeats; None: it does not.
    """

    def __init__(
        self,
        ports: Ports,
        credentials: Credentials,
        failures: Failures,
        connect: Callable[[], TopologyBroker],
        listening_since: Callable[[], float | None],
    ) -> None:
        self._store = ports.store
        self._queues = ports.queues
        self._clock = ports.clock
        self._credentials = credentials
        self._failures = failures
        self._connect = connect
        self._listening_since = listening_since

    def settle(self, user_endpoint: UserEndpoint) -> bool:
        """End the tasks that `user_endpoint`, which is not heard of any more, had taken.

        Returns:
            Whether it is settled, and tasks wait for another start. False also while the hub
            has not listened for long enough itself to know.

        Raises:
            BrokerError: there is no broker; call again.
        """
        since = self._listening_since()
        silence_s = LOST_AFTER_PERIODS * user_endpoint.heartbeat_period_s
        if since is None or self._clock() - since < silence_s:
            return False
        self._credentials.end_user_endpoint(user_endpoint.id, up_to=user_endpoint.generation)
        sent = self._store.open_published(user_endpoint.id, self._clock())
        waiting = self._waiting(user_endpoint.id) if sent else set()
        lost = [task for task in sent if task not in waiting]
        self._failures.fail(user_endpoint.id, lost, ErrorCode.TASK_LOST, _LOST)
        said_goodbye = user_endpoint.state is UserEndpointState.STOPPING
        self._store.move_user_endpoint(
            user_endpoint.id,
            UserEndpointEvent.ENDED if said_goodbye else UserEndpointEvent.CRASHED,
            at=self._clock(),
        )
        log.info(
            "user endpoint without a ledger is gone",
            extra={
                "event": "user_endpoint.left_behind",
                "user_endpoint": user_endpoint.id,
                "state_from": user_endpoint.state,
                "count": len(lost),
            },
        )
        return bool(set(self._store.open_tasks(user_endpoint.id)) - set(lost))

    def _waiting(self, user_endpoint: EndpointId) -> set[str]:
        """Return the tasks in the queue of `user_endpoint`; drop those that have ended."""
        name = topology.task_queue(user_endpoint)
        self._queues.user_endpoint(user_endpoint)
        mark, seen, done = new_id(), [], threading.Event()

        def take(delivery: Delivery) -> None:
            # Only what names it: what waits may be many gigabytes.
            seen.append((str(delivery.headers.get(topology.HEADER_TASK, "")), delivery.tag))
            if seen[-1][0] == mark:
                done.set()

        broker = self._connect()
        try:
            broker.open(timeout_s=_SCAN_S)
            # Exclusive: the broker lets us in when the old one is out, and then all that it had
            # not acknowledged is back. What was there before our mark comes before it.
            quorum = self._queues.quorum
            broker.consume(name, take, prefetch=_QUORUM_PREFETCH if quorum else 0, exclusive=True)
            _pass(broker, name, mark, done)
            if quorum:
                # It lets us in when the old one takes no more, and may give back what that had a
                # moment later, but before what is new: look again.
                time.sleep(_QUORUM_QUIET_S)
                done.clear()
                _pass(broker, name, mark, done)
            open_now = set(self._store.open_tasks(user_endpoint))
            for task, tag in list(seen):
                if task not in open_now:
                    broker.ack(_handle(name, tag))
        finally:
            # Gives back what is not acknowledged, in its old place.
            broker.close()
        return {task for task, _ in seen}


def _pass(broker: TopologyBroker, name: str, mark: str, done: threading.Event) -> None:
    """Return when `mark`, which goes in at the end of queue `name`, has come."""
    headers = {topology.HEADER_TASK: mark}
    broker.publish(Outgoing(topology.TASKS, name, b"{}", headers=headers)).result(_SCAN_S)
    if not done.wait(_SCAN_S):
        raise LinkLostError(f"queue {name} could not be looked through")


def _handle(queue: str, tag: tuple[int, int]) -> Delivery:
    return Delivery(queue, "", b"", {}, None, None, False, tag)
