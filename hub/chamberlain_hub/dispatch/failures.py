"""Ends open tasks with an error, by the way that every result takes.

The hub publishes a Result under the user endpoint's key, and then reads, stores and forwards it
like any other. So a failure is in the broker before anybody relies on it, and there is no
second way for a task to end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from chamberlain_hub.dispatch.outbox import Outbox
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import Outgoing
from chamberlain_wire.ids import EndpointId, TaskId
from chamberlain_wire.messages import ErrorDetails, Result

log = logging.getLogger(__name__)


class Failures:
    """Fails what a user endpoint will not run."""

    def __init__(self, ports: Ports, outbox: Outbox) -> None:
        self._store = ports.store
        self._broker = ports.broker
        self._queues = ports.queues
        self._outbox = outbox

    def fail_open(self, user_endpoint: EndpointId, code: str, message: str) -> int:
        """End all tasks of `user_endpoint` that are open now; return how many.

        Its queue is emptied, so that a later start does not run what its owner was told has
        failed. Tasks that are stored meanwhile are sent again.

        Raises:
            BrokerError: there is no broker; they stay open, and the sweep calls again.
        """
        doomed = self._store.open_tasks(user_endpoint)
        if not doomed:
            return 0
        self._queues.empty_user_endpoint(user_endpoint)
        self.fail(user_endpoint, doomed, code, message)
        later = set(self._store.open_tasks(user_endpoint)) - set(doomed)
        self._outbox.send(self._store.open_with_payloads(later))
        log.info(
            "open tasks failed",
            extra={
                "event": "task.failed_by_hub",
                "user_endpoint": user_endpoint,
                "code": code,
                "count": len(doomed),
            },
        )
        return len(doomed)

    def fail(
        self, user_endpoint: EndpointId, tasks: Iterable[TaskId], code: str, message: str
    ) -> None:
        """End these tasks of `user_endpoint`. A result that came before counts instead."""
        key = topology.results_key(user_endpoint)
        error = ErrorDetails(code=code, user_message=message)
        for task_id in tasks:
            result = Result(task_id=task_id, data=message, error_details=error)
            # Not waited for: what gets lost here is open still, and the sweep sees it.
            self._broker.publish(Outgoing(topology.RESULTS, key, codec.encode(result)))
