"""The way of a result: publish, wait for the confirm, mark, then acknowledge the task.

The ledger has the result before `offer` is called. What the broker did not confirm is
offered again when the link is back, in the same bytes; the hub takes a result once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from chamberlain_wire.broker.port import Broker, LinkLostError, Outgoing
from chamberlain_wire.claims import What
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.details import usage_of
from chamberlain_wire.errors import ErrorCode, InvalidMessageError
from chamberlain_wire.ids import TaskId
from chamberlain_wire.messages import ErrorDetails, QueueInfo, Result

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker has the result of this task."""

    task_id: TaskId


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The broker does not have it, or did not say so. Offer it again when the link is up.

    Attributes:
        link_lost: False when the link is up and the broker had no queue for it.
    """

    task_id: TaskId
    link_lost: bool


OnAnswer = Callable[[Confirmed | Unconfirmed], None]


class Results:
    """Results that the broker does not have yet. One thread; `on_answer` comes from any."""

    def __init__(self, broker: Broker, info: QueueInfo, on_answer: OnAnswer) -> None:
        kwargs = info.queue_publish_kwargs or {}
        self._broker = broker
        self._exchange = str(kwargs.get("exchange", info.exchange))
        self._key = str(kwargs.get("routing_key", info.queue))
        self._on_answer = on_answer
        self._link = False
        self._open: dict[TaskId, bytes] = {}
        self._waiting: set[TaskId] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._open

    def offer(self, results: Iterable[tuple[TaskId, bytes]]) -> None:
        """Publish `results`, now or when the link is up."""
        for task_id, body in results:
            self._open[task_id] = body
            self._publish(task_id)

    def link_up(self) -> None:
        """Publish all that waits."""
        self._link = True
        self.again()

    def link_down(self) -> None:
        """Keep what comes until the link is back."""
        self._link = False

    def again(self) -> None:
        """Publish what was not taken, if the link is up."""
        waiting, self._waiting = self._waiting, set()
        for task_id in waiting:
            self._publish(task_id)

    def note(self, answer: Confirmed | Unconfirmed) -> bool:
        """Take an answer of the broker; True when this task's result is out."""
        task_id = answer.task_id
        if task_id not in self._open:
            return False
        if isinstance(answer, Confirmed):
            del self._open[task_id]
            self._waiting.discard(task_id)
            return True
        if answer.link_lost and self._link:
            # The link went and came back before this answer was read.
            self._publish(task_id)
        else:
            self._waiting.add(task_id)
        return False

    def _publish(self, task_id: TaskId) -> None:
        if not self._link:
            self._waiting.add(task_id)
            return
        message = Outgoing(self._exchange, self._key, self._open[task_id])
        self._broker.publish(message).add_done_callback(
            lambda future: self._on_answer(_answer(task_id, future))
        )


def _answer(task_id: TaskId, future: Future[None]) -> Confirmed | Unconfirmed:
    error = future.exception()
    if error is None:
        return Confirmed(task_id)
    link_lost = isinstance(error, LinkLostError)
    if not link_lost:
        log.warning(
            "result not taken by the broker",
            extra={"event": "task.result_refused", "task": task_id, "reason": str(error)},
        )
    return Unconfirmed(task_id, link_lost)


def told_by(body: bytes) -> tuple[What, str]:
    """Return how the task of the encoded result `body` ended, and the batch job it ran in.

    The job is empty where the worker named none.
    """
    try:
        result = decode(body, Result)
    except InvalidMessageError:
        return What.FAILED, ""
    used = usage_of(result)
    what = What.ENDED if result.error_details is None else What.FAILED
    return what, used.job_id if used is not None else ""


def failure(
    task_id: TaskId, code: ErrorCode, sentence: str, *, endpoint_id: str, **facts: str
) -> bytes:
    """Return the encoded result of a task that ended without a worker's answer."""
    return encode(
        Result(
            task_id=task_id,
            data=sentence,
            details={"endpoint_id": endpoint_id, **facts},
            error_details=ErrorDetails(code=code, user_message=sentence),
        )
    )
