"""Keeps the hub from growing for ever: abandons what nobody ran, removes what is old.

A bounded number of rows in each round, so that nobody waits for it; what is left, the next
rounds do.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint_life import is_live
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, TaskId

log = logging.getLogger(__name__)

_STEPS: Final = 10
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long what is kept, in seconds; see `config.HubSettings`."""

    task_idle_s: float = 14 * _DAY_S
    result_keep_s: float = 30 * _DAY_S
    user_endpoint_keep_s: float = 30 * _DAY_S


class Retention:
    """For the sweep's thread."""

    def __init__(self, ports: Ports, failures: Failures, terms: Terms) -> None:
        self._store = ports.store
        self._queues = ports.queues
        self._clock = ports.clock
        self._failures = failures
        self._terms = terms

    def round(self) -> None:
        """Do some of what is due.

        Raises:
            BrokerError: there is no broker; the next round goes on.
        """
        now = self._clock()
        self._abandon(now)
        terms = self._terms
        tasks = _some(lambda: self._store.forget_tasks(now - terms.result_keep_s))
        groups = _some(lambda: self._store.forget_groups(now - terms.result_keep_s))
        over = self._store.forget_user_endpoints(now - terms.user_endpoint_keep_s)
        for user_endpoint in over:
            self._queues.delete_user_endpoint(user_endpoint)
        if tasks or groups or over:
            log.info(
                "old records removed",
                extra={"event": "store.cleaned", "count": tasks + groups + len(over)},
            )

    def _abandon(self, now: float) -> None:
        """End tasks that waited for too long at a user endpoint that does not serve."""
        idle: defaultdict[EndpointId, list[TaskId]] = defaultdict(list)
        for user_endpoint, task in self._store.idle_tasks(now - self._terms.task_idle_s):
            idle[user_endpoint].append(task)
        for user_endpoint, tasks in idle.items():
            known = self._store.user_endpoint(user_endpoint)
            if known is not None and is_live(known, now):
                continue
            days = self._terms.task_idle_s / _DAY_S
            self._failures.fail(
                user_endpoint,
                tasks,
                ErrorCode.TASK_EXPIRED,
                f"Nobody ran this task within {days:g} days, and the hub gave it up.",
            )


def _some(step: Callable[[], int]) -> int:
    total = 0
    for _ in range(_STEPS):
        done = step()
        total += done
        if done == 0:
            break
    return total
