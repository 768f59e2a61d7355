"""What this user endpoint tells the hub of itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from chamberlain_endpoint.engine.port import EngineStatus
from chamberlain_wire.broker.port import Outgoing
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import TaskId
from chamberlain_wire.messages import QueueInfo, StatusReport, TaskTransition
from chamberlain_wire.states import TaskState
from chamberlain_wire.topology import FEATURE_CONTROL

MOST_TRANSITIONS: Final = 2_000
"""Tasks named in one report; the others are named by their results."""

_KEEPS: Final = {"ledger": True}
"""Tells the hub that what was taken here is known after a crash, too: it goes on, or is told."""


@dataclass(frozen=True, slots=True)
class Load:
    """Counts at one moment.

    Attributes:
        waiting: tasks here that the engine does not have yet.
        running: tasks that the engine has.
        taken: tasks taken since the start.
    """

    waiting: int
    running: int
    taken: int


class Heartbeat:
    """Makes reports.

    Args:
        identity: what the launcher said of who asked for this endpoint.
        control: this endpoint reads a control queue.
    """

    def __init__(
        self,
        endpoint_id: str,
        info: QueueInfo,
        *,
        period_s: float,
        identity: dict[str, Any],
        control: bool = False,
    ) -> None:
        kwargs = info.queue_publish_kwargs or {}
        self._endpoint_id = endpoint_id
        self._exchange = str(kwargs.get("exchange", info.exchange))
        self._key = str(kwargs.get("routing_key", info.queue))
        self._period_s = period_s
        self._identity = identity
        self._features = {FEATURE_CONTROL: "1"} if control else {}

    def report(
        self,
        engine: EngineStatus,
        load: Load,
        started: Iterable[tuple[TaskId, int]],
        *,
        roll: str = "",
    ) -> Outgoing:
        """Return a report of a living endpoint.

        Args:
            started: tasks with the time (UTC, nanoseconds) at which the engine got them.
            roll: see `StatusReport`.
        """
        state = {
            **engine.more,
            **_KEEPS,
            "active": True,
            **self._features,
            "heartbeat_period": self._period_s,
            "total_workers": engine.workers,
            "idle_workers": engine.idle,
            "pending_tasks": load.waiting,
            "outstanding_tasks": load.waiting + load.running,
            "total_tasks": load.taken,
            "posix_pid": os.getpid(),
            "posix_ppid": os.getppid(),
            "posix_uid": os.getuid(),
            "posix_gid": os.getgid(),
            "identity": self._identity,
        }
        return self._outgoing(state, _transitions(started), roll)

    def running(self, started: Iterable[tuple[TaskId, int]]) -> Outgoing:
        """Return a report of tasks alone, between two heartbeats; see `report`."""
        return self._outgoing({}, _transitions(started))

    def last(self) -> Outgoing:
        """Return the report that says: I am leaving."""
        return self._outgoing({**_KEEPS, "active": False, "heartbeat_period": 0}, {})

    def _outgoing(
        self,
        state: dict[str, Any],
        transitions: dict[str, list[TaskTransition]],
        roll: str = "",
    ) -> Outgoing:
        report = StatusReport(
            endpoint_id=self._endpoint_id,
            global_state=state,
            task_statuses=transitions,
            roll=roll,
        )
        return Outgoing(self._exchange, self._key, encode(report))


def _transitions(started: Iterable[tuple[TaskId, int]]) -> dict[str, list[TaskTransition]]:
    return {
        task_id: [TaskTransition(timestamp=at_ns, state=TaskState.RUNNING, actor="interchange")]
        for task_id, at_ns in islice(started, MOST_TRANSITIONS)
    }
