"""Stored tasks on their way to the broker.

`send` publishes right after the commit. Confirmations are noted in the store a little later
and many at a time: the note only saves a second delivery after a crash, and a second delivery
is harmless, so it must not compete with submits and results for the database. What was not
confirmed (no link, no queue, a crash) `resend` publishes again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Final

from chamberlain_hub.dispatch.batches import Batches
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.function import Function
from chamberlain_hub.domain.task import TaskRow
from chamberlain_hub.store.store import Store
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import Outgoing, UnroutableError
from chamberlain_wire.ids import FunctionId, TaskId
from chamberlain_wire.messages import Task
from chamberlain_wire.states import TaskState

log = logging.getLogger(__name__)

_MARK_AFTER_S: Final = 0.25
_RESEND_AT_ONCE: Final = 256
_CONFIRM_S: Final = 30.0
_CODE_CACHE_BYTES: Final = 64 * 1024 * 1024


class Outbox:
    """Publishes tasks until the broker has confirmed them. Thread-safe, but for `resend`.

    Args:
        on_trouble: called, in any thread, when a resend is needed soon.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = ports.store
        self._broker = ports.broker
        self._queues = ports.queues
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._on_trouble = on_trouble
        self._codes = _Codes(ports.store)
        self._lock = threading.Lock()
        # Sent by this process and not marked in the store yet.
        self._sent: set[TaskId] = set()
        self._to_mark: Batches[TaskId] = Batches(
            "outbox", self._mark, linger_s=_MARK_AFTER_S, most=10_000
        )

    def start(self) -> None:
        """Start noting confirmations."""
        self._to_mark.start()

    def stop(self) -> None:
        """Note what is confirmed so far, then end."""
        self._to_mark.stop()

    def send(self, tasks: Iterable[TaskRow]) -> None:
        """Publish tasks that are stored, payloads included. Does not wait for the broker."""
        for task in tasks:
            with self._lock:
                self._sent.add(task.id)
            self._publish(task).add_done_callback(partial(self._on_answer, task))

    def resend(self) -> int:
        """Publish again what the broker did not confirm; return how many it has confirmed now.

        Raises:
            LinkLostError: there is no broker. The next sweep tries again.
        """
        total = 0
        while True:
            waiting = self._left_over()
            if not waiting:
                return total
            self._declare_for(waiting)
            answers = {task.id: self._publish(task) for task in waiting}
            wait(answers.values(), _CONFIRM_S)
            done = [task_id for task_id, answer in answers.items() if _confirmed(answer)]
            self._store.mark_published(done, self._clock())
            self._metrics.moved(TaskState.WAITING_FOR_ENDPOINT, len(done))
            total += len(done)
            log.info("tasks published again", extra={"event": "task.resent", "count": len(done)})
            if len(done) < len(waiting):
                return total

    def _left_over(self) -> list[TaskRow]:
        with self._lock:
            sent = frozenset(self._sent)
        limit = min(_RESEND_AT_ONCE + len(sent), 4 * _RESEND_AT_ONCE)
        return [task for task in self._store.unpublished(limit) if task.id not in sent]

    def _declare_for(self, waiting: list[TaskRow]) -> None:
        for user_endpoint in {task.user_endpoint for task in waiting}:
            self._queues.user_endpoint(user_endpoint)
        for owner, group in {(task.owner, task.group) for task in waiting}:
            # At submit there may have been no broker to declare it.
            self._queues.group(owner, group)

    def _publish(self, task: TaskRow) -> Future[None]:
        buffer = self._codes.code(task.function) + (task.payload or "")
        return self._broker.publish(
            Outgoing(
                topology.TASKS,
                topology.task_queue(task.user_endpoint),
                codec.encode(Task(task_id=task.id, task_buffer=buffer)),
                headers=_headers(task),
            )
        )

    def _on_answer(self, task: TaskRow, answer: Future[None]) -> None:
        # In the broker's thread, or in the sender's when there is no link.
        if _confirmed(answer):
            self._to_mark.put(task.id)
            return
        if isinstance(answer.exception(), UnroutableError):
            # The broker forgot the queue; the resend declares it.
            self._queues.forget(topology.task_queue(task.user_endpoint))
        with self._lock:
            self._sent.discard(task.id)
        self._on_trouble()

    def _mark(self, ids: list[TaskId]) -> None:
        self._store.mark_published(ids, self._clock())
        self._metrics.moved(TaskState.WAITING_FOR_ENDPOINT, len(ids))
        with self._lock:
            self._sent.difference_update(ids)


class _Codes:
    """The code of functions, the recently used ones in memory: it never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[FunctionId, str] = OrderedDict()
        self._size_bytes = 0

    def code(self, function_id: FunctionId) -> str:
        with self._lock:
            code = self._known.get(function_id)
            if code is not None:
                self._known.move_to_end(function_id)
                return code
        function: Function | None = self._store.function(function_id, with_deleted=True)
        code = "" if function is None else function.code
        with self._lock:
            if function_id not in self._known:
                self._known[function_id] = code
                self._size_bytes += len(code)
            while self._size_bytes > _CODE_CACHE_BYTES and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._size_bytes -= len(oldest)
        return code


def _confirmed(answer: Future[None]) -> bool:
    return answer.done() and answer.exception() is None


def _headers(task: TaskRow) -> dict[str, Any]:
    headers: dict[str, Any] = {
        topology.HEADER_FUNCTION: task.function,
        topology.HEADER_TASK: task.id,
        topology.HEADER_RESOURCES: task.resources,
    }
    if task.serializers is not None:
        headers[topology.HEADER_SERIALIZERS] = list(task.serializers)
    return headers
