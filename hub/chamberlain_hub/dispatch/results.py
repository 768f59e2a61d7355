"""Results: read all that has arrived, store once, forward unchanged, then acknowledge.

A delivery is acknowledged when the broker has confirmed the forwarded copy, so a crash at any
point makes it come again; the store then answers with the result it has, which is forwarded
once more.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from chamberlain_hub.audit.entry import Action, Entry, Who
from chamberlain_hub.dispatch.batches import Batches
from chamberlain_hub.dispatch.cancellations import Cancellations, outcome_of
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.task import FinishedTask, ReceivedResult
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import Delivery, LinkLostError, Outgoing
from chamberlain_wire.errors import InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import TaskId, parse_task_id
from chamberlain_wire.messages import Result

log = logging.getLogger(__name__)

PREFETCH = 256
"""Results that may be in our hands; with the largest results, 2.5 GiB."""

_BUSY_LINGER_S = 0.005


def ends(finished: Sequence[FinishedTask]) -> list[Entry]:
    """Return what the audit log is told: one entry for all tasks that ended alike."""
    alike: dict[tuple[str, str, str, str, str, bool], list[str]] = {}
    for task in finished:
        key = (task.user_endpoint, task.owner, task.state, task.code, task.job, task.first)
        alike.setdefault(key, []).append(task.task_id)
    return [
        Entry(
            action=Action.TASKS_ENDED,
            outcome=state,
            who=Who(identity=owner),
            user_endpoint=user_endpoint,
            tasks=tasks,
            code=code,
            job=job,
            repeat=None if first else True,
        )
        for (user_endpoint, owner, state, code, job, first), tasks in alike.items()
    ]


class Results:
    """Consumes the queue `results`. `take` is the broker's callback."""

    def __init__(self, ports: Ports, cancellations: Cancellations) -> None:
        self._cancellations = cancellations
        self._store = ports.store
        self._broker = ports.broker
        self._clock = ports.clock
        self._audit = ports.audit
        self._metrics = ports.metrics
        self._batches: Batches[Delivery] = Batches(
            "results", self._handle, busy_linger_s=_BUSY_LINGER_S, most=PREFETCH
        )

    def start(self) -> None:
        """Start the thread that stores and forwards."""
        self._batches.start()

    def stop(self) -> None:
        """Store and forward what has been taken, then end."""
        self._batches.stop()

    def take(self, delivery: Delivery) -> None:
        """Take one delivery; never blocks."""
        self._batches.put(delivery)

    def _handle(self, batch: list[Delivery]) -> None:
        now = self._clock()
        taken = [(delivery, item) for delivery in batch if (item := self._read(delivery))]
        finished = self._store.finish([item for _, item in taken], now)
        noted = self._audit.put(*ends(finished))
        for state, count in Counter(task.state for task in finished if task.first).items():
            self._metrics.moved(state, count)
        # What the store gives back is in our order, less what it left out.
        place = 0
        for delivery, item in taken:
            if place < len(finished) and finished[place].task_id == item.result.task_id:
                self._forward(finished[place], delivery, noted)
                place += 1
            else:
                self._drop(delivery, "unknown task, or not its sender's")
        self._close_cancelled(taken, finished)
        if finished:
            log.debug("results stored", extra={"event": "task.closed", "count": len(finished)})

    def _close_cancelled(
        self, taken: list[tuple[Delivery, ReceivedResult]], finished: list[FinishedTask]
    ) -> None:
        again = {task.task_id for task in finished if not task.first}
        if again:
            # What comes for a task that had ended may be the answer to a cancel.
            results = [item.result for _, item in taken]
            self._cancellations.close(
                {TaskId(one.task_id): outcome_of(one) for one in results if one.task_id in again}
            )

    def _read(self, delivery: Delivery) -> ReceivedResult | None:
        try:
            sender = topology.sender_of(delivery.routing_key)
            result = codec.decode(delivery.body, Result)
            # A text that no database takes must not get into a batch with other people's.
            parse_task_id(result.task_id)
        except (InvalidMessageError, InvalidIdError) as error:
            self._drop(delivery, str(error))
            return None
        return ReceivedResult(sender, result, delivery.body)

    def _forward(self, task: FinishedTask, delivery: Delivery, noted: Future[None]) -> None:
        answer = self._broker.publish(
            Outgoing(
                "",
                topology.group_queue(task.owner, task.group),
                task.body,
                timestamp=int(self._clock()),
            )
        )
        answer.add_done_callback(partial(self._on_forwarded, delivery, noted))

    def _on_forwarded(self, delivery: Delivery, noted: Future[None], answer: Future[None]) -> None:
        # An unroutable copy means that nobody listens: the result is in the store, done.
        if isinstance(answer.exception(), LinkLostError):
            self._broker.reject(delivery, requeue=True)
        else:
            # Acknowledged when it is noted, whatever became of the note: a full disk must not
            # keep results from their owners, and the audit log counts what it lost.
            noted.add_done_callback(lambda _: self._broker.ack(delivery))

    def _drop(self, delivery: Delivery, reason: str) -> None:
        log.warning(
            "result dropped",
            extra={
                "event": "result.dropped",
                "reason": reason,
                "endpoint": delivery.routing_key[:80],
                "size_bytes": len(delivery.body),
            },
        )
        self._broker.ack(delivery)
