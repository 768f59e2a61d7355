"""Cancels tasks: ends them in the store at once, then tells callers and user endpoints.

The store decides between a cancel and a result, whichever comes first, so a cancelled task has
one end and it is final whoever is away. What is still to be told stands in the store, too: the
sweep tells it again, and a user endpoint whose link comes up asks for all of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from chamberlain_hub.dispatch.batches import Batches
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import is_live
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.domain.task import CancelledTask
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import LinkLostError, Outgoing, UnroutableError
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, TaskId
from chamberlain_wire.messages import ControlOrder, ErrorDetails, Result
from chamberlain_wire.states import CancelAnswer, CancelOutcome, TaskState

log = logging.getLogger(__name__)

_SENTENCE: Final = "The task was cancelled by its owner."
_ORDER_TASKS: Final = 5_000
_ORDER_EXPIRES_MS: Final = 600_000
"""An order that nobody reads for so long is told again by the roll, when somebody comes."""
_AGAIN_S: Final = 2.0
_NOTE_AFTER_S: Final = 0.2


class Cancellations:
    """Thread-safe. `cancel` blocks some milliseconds, `answer_roll` too; no other does."""

    def __init__(self, ports: Ports) -> None:
        self._store = ports.store
        self._broker = ports.broker
        self._queues = ports.queues
        self._clock = ports.clock
        self._lock = threading.Lock()
        self._lost: set[EndpointId] = set()
        self._told: Batches[TaskId] = Batches(
            "cancels-told", self._note_told, linger_s=_NOTE_AFTER_S, most=10_000
        )
        self._sent: Batches[TaskId] = Batches(
            "cancels-sent", self._note_sent, linger_s=_NOTE_AFTER_S, most=10_000
        )

    def start(self) -> None:
        """Start noting what the broker has."""
        self._told.start()
        self._sent.start()

    def stop(self) -> None:
        """Note what it has so far, then end."""
        self._told.stop()
        self._sent.stop()

    def cancel(
        self, principal: Principal, task_ids: Sequence[TaskId]
    ) -> dict[TaskId, CancelAnswer]:
        """Cancel the caller's own tasks, and return what becomes of each of `task_ids`.

        A repeat is answered alike. Only the owner may: others do not even learn that a task
        exists. When this returns, the tasks have ended, whoever is away.
        """
        now = self._clock()
        found = self._store.cancel(task_ids, principal.ids, _body, now)
        fresh = [task for task in found.values() if task.body is not None]
        for task in fresh:
            self._tell(task)
        told = self._order(fresh)
        if fresh:
            log.info(
                "tasks cancelled",
                extra={
                    "event": "task.cancelled",
                    "user": principal.identity.username,
                    "count": len(fresh),
                },
            )
        return {task_id: _answer(found.get(task_id), task_id in told) for task_id in task_ids}

    def answer_roll(self, user_endpoint: EndpointId, roll: str) -> None:
        """Tell a user endpoint all that was cancelled and that it has not answered."""
        task_ids = self._store.open_cancels(user_endpoint)
        parts = [
            task_ids[first : first + _ORDER_TASKS]
            for first in range(0, len(task_ids), _ORDER_TASKS)
        ] or [[]]
        for part in parts[:-1]:
            self._send(user_endpoint, part)
        self._send(user_endpoint, parts[-1], roll=roll)

    def close(self, outcomes: dict[TaskId, CancelOutcome]) -> None:
        """Take what came of tasks that had ended before: was it a cancelled one's answer?"""
        closed = self._store.close_cancels(outcomes, self._clock())
        for task_id in closed:
            log.info(
                "cancelled task over",
                extra={
                    "event": "task.cancel_closed",
                    "task": task_id,
                    "state_to": outcomes[task_id].value,
                },
            )

    def resend(self) -> None:
        """Tell again what the broker may not have. The sweep's."""
        with self._lock:
            lost, self._lost = self._lost, set()
        for user_endpoint in lost:
            self._queues.control(user_endpoint)
        before = self._clock() - _AGAIN_S
        for task in self._store.untold_cancels(before=before):
            self._tell(task)
        for user_endpoint, task_ids in self._store.unsent_cancels(before=before).items():
            if self._listens(self._store.user_endpoint(user_endpoint)):
                self._queues.control(user_endpoint)
                self._send(user_endpoint, task_ids)

    def _tell(self, task: CancelledTask) -> None:
        assert task.body is not None
        queue = topology.group_queue(task.owner, task.group)
        answer = self._broker.publish(Outgoing("", queue, task.body, timestamp=int(self._clock())))
        answer.add_done_callback(partial(self._on_told, task.id))

    def _on_told(self, task_id: TaskId, answer: Future[None]) -> None:
        # Where no queue wants it, nobody listens; the store knows.
        if not isinstance(answer.exception(), LinkLostError):
            self._told.put(task_id)

    def _order(self, tasks: Iterable[CancelledTask]) -> set[TaskId]:
        """Tell the user endpoints that can be told; return the tasks of which one was."""
        by_endpoint: dict[EndpointId, list[TaskId]] = {}
        for task in tasks:
            by_endpoint.setdefault(task.user_endpoint, []).append(task.id)
        told: set[TaskId] = set()
        for user_endpoint, task_ids in by_endpoint.items():
            if self._listens(self._store.user_endpoint(user_endpoint)):
                self._send(user_endpoint, task_ids)
                told.update(task_ids)
        return told

    def _listens(self, user_endpoint: UserEndpoint | None) -> bool:
        return (
            user_endpoint is not None
            and is_live(user_endpoint, self._clock())
            and bool(user_endpoint.last_state.get(topology.FEATURE_CONTROL))
        )

    def _send(self, user_endpoint: EndpointId, task_ids: list[TaskId], *, roll: str = "") -> None:
        queue = topology.control_queue(user_endpoint)
        order = ControlOrder(cancel=list(task_ids), roll=roll)
        answer = self._broker.publish(
            Outgoing("", queue, codec.encode(order), expiration_ms=_ORDER_EXPIRES_MS)
        )
        answer.add_done_callback(partial(self._on_sent, user_endpoint, task_ids))

    def _on_sent(
        self, user_endpoint: EndpointId, task_ids: list[TaskId], answer: Future[None]
    ) -> None:
        error = answer.exception()
        if error is None:
            for task_id in task_ids:
                self._sent.put(task_id)
        elif isinstance(error, UnroutableError):
            # The broker forgot the queue; the sweep declares it.
            self._queues.forget(topology.control_queue(user_endpoint))
            with self._lock:
                self._lost.add(user_endpoint)

    def _note_told(self, task_ids: list[TaskId]) -> None:
        self._store.note_cancels_told(task_ids, self._clock())

    def _note_sent(self, task_ids: list[TaskId]) -> None:
        self._store.note_cancels_sent(task_ids, self._clock())


def outcome_of(result: Result) -> CancelOutcome:
    """Return what a result says of a task that was cancelled before it came."""
    if result.state is TaskState.CANCELLED:
        said = (result.details or {}).get("cancelled")
        if said in {outcome.value for outcome in CancelOutcome}:
            return CancelOutcome(str(said))
    return CancelOutcome.LATE


def _body(task_id: TaskId) -> bytes:
    error = ErrorDetails(code=ErrorCode.TASK_CANCELLED, user_message=_SENTENCE)
    return codec.encode(Result(task_id=task_id, data=_SENTENCE, error_details=error))


def _answer(task: CancelledTask | None, told: bool) -> CancelAnswer:
    if task is None:
        return CancelAnswer.UNKNOWN
    if task.state is not TaskState.CANCELLED:
        return CancelAnswer.ENDED
    return CancelAnswer.ASKED if told else CancelAnswer.CANCELLED
