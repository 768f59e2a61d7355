"""The main loop: one thread, one queue of events, everything available in one turn.

A turn takes all events that are there, decides, makes the decisions durable in one
transaction, and only then acts: acknowledge, publish, hand over. Nothing waits for a clock
but the heartbeat; batches form by themselves while the disk works on the one before.
"""

from __future__ import annotations

import logging
import queue
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, assert_never

from chamberlain_endpoint.engine.port import (
    Broken,
    CapacityChanged,
    Engine,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    Report,
    Rules,
)
from chamberlain_endpoint.user import intake
from chamberlain_endpoint.user.heartbeat import Heartbeat, Load
from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.ledger import Ledger, Mark, Turn
from chamberlain_endpoint.user.pace import Pace
from chamberlain_endpoint.user.results import Confirmed, Results, Unconfirmed, failure
from chamberlain_endpoint.user.tasks import Tasks
from chamberlain_wire.broker.port import Broker, Delivery, Link
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import FunctionId, TaskId

log = logging.getLogger(__name__)

_MOST_EVENTS: Final = 5_000
_KEEP_CONFIRMED_S: Final = 60.0
_PUBLISH_S: Final = 2.0
"""How long leaving may wait for the broker's confirms."""


class Exit(IntEnum):
    """Exit codes of the process."""

    LEFT = 0
    FAILED = 70
    BROKER_REFUSED = 75
    CONFIG_REFUSED = 78


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave, and say why in the log."""

    reason: str
    code: Exit = Exit.LEFT


Event = Delivery | Link | Report | Confirmed | Unconfirmed | Stop
Inbox = queue.SimpleQueue[Event]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the loop needs to know.

    Attributes:
        retries: how often a task whose worker went away is run again.
        grace_s: how long running tasks may go on when it is time to leave.
        allowed: functions that may run here; None is all.
    """

    endpoint_id: str
    task_queue: str
    rules: Rules
    heartbeat_period_s: float
    idle: Idle
    retries: int = 0
    grace_s: float = 7.0
    allowed: frozenset[FunctionId] | None = None


@dataclass(slots=True)
class _Counters:
    taken: int = 0
    moved: bool = False
    beat_at: float = float("inf")
    link_since: float | None = None
    started_at_ns: dict[TaskId, int] = field(default_factory=dict)


class Loop:
    """One user endpoint, from the first task to the last result."""

    def __init__(
        self,
        settings: Settings,
        *,
        inbox: Inbox,
        broker: Broker,
        engine: Engine,
        ledger: Ledger,
        results: Results,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._broker = broker
        self._engine = engine
        self._ledger = ledger
        self._results = results
        self._heartbeat = heartbeat
        self._tasks = Tasks(settings.retries)
        self._idle = settings.idle
        self._pace = Pace()
        self._stop: Stop | None = None
        self._leave_at = float("inf")
        self._now = _Counters()

    def run(self) -> Exit:
        """Serve until it is time to leave; return with what code.

        The broker must be opening (its link and deliveries come to the inbox), the engine
        started, the ledger open.

        Raises:
            LedgerError: nothing is safe any more. End the engine and the process.
        """
        self._recover()
        while not self._done():
            self._turn(self._events())
        return self._finish()

    def _events(self) -> list[Event]:
        deadline = min(self._now.beat_at, self._leave_at)
        timeout_s = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        events: list[Event] = []
        try:
            events.append(self._inbox.get(timeout=timeout_s))
            while len(events) < _MOST_EVENTS:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return events

    def _turn(self, events: list[Event]) -> None:
        turn = Turn()
        deliveries: list[Delivery] = []
        ended = 0
        for event in events:
            match event:
                case Delivery():
                    deliveries.append(event)
                case Finished():
                    ended += self._on_finished(event, turn)
                case Lost():
                    self._on_lost(event, turn)
                case Confirmed() | Unconfirmed():
                    if self._results.note(event):
                        turn.confirmed.append(event.task_id)
                case Link():
                    self._on_link(event)
                case Stop():
                    self._on_stop(event)
                case Broken():
                    self._fail_waiting(event.reason, turn)
                case CapacityChanged():
                    pass
                case _:
                    assert_never(event)
        now_s = time.monotonic()
        self._pace.note(ended, now_s=now_s)
        self._take(deliveries, turn)
        self._act(turn, self._pick(turn, now_s))
        if now_s >= self._now.beat_at:
            self._beat()

    def _act(self, turn: Turn, jobs: list[Job]) -> None:
        """Make the turn durable, then do what it says."""
        self._ledger.write(turn, now=time.time())
        for task_id in turn.confirmed:
            delivery = self._tasks.release(task_id)
            if delivery is not None:
                self._broker.ack(delivery)
        self._results.offer(turn.finished.items())
        for job in jobs:
            try:
                self._engine.submit(job)
            except JobRefusedError as error:
                body = self._failure(job.task_id, error.code, error.public)
                self._inbox.put(Finished(job.task_id, body))
        if self._stop is None:
            self._engine.want(self._tasks.waiting)

    def _pick(self, turn: Turn, now_s: float) -> list[Job]:
        if self._stop is not None or not self._tasks.waiting:
            return []
        capacity = self._engine.capacity
        ahead = self._pace.ahead(now_s=now_s) if capacity else 0
        jobs = self._tasks.pick(capacity + ahead - len(self._tasks.running))
        turn.started.extend(job.task_id for job in jobs)
        at_ns = time.time_ns()
        self._now.started_at_ns.update((job.task_id, at_ns) for job in jobs)
        return jobs

    # What came.

    def _take(self, deliveries: list[Delivery], turn: Turn) -> None:
        if not deliveries:
            return
        settings = self._settings
        came = [intake.read(delivery, settings.rules, settings.allowed) for delivery in deliveries]
        fresh = [_task_of(one) for one in came]
        rows = self._ledger.look([task_id for task_id in fresh if task_id is not None])
        for one, task_id in zip(came, fresh, strict=True):
            if task_id is None:
                self._drop(one)
                continue
            row = rows.get(task_id)
            if row is not None and row.mark is Mark.CONFIRMED:
                # Its acknowledgement was lost with an earlier connection.
                self._broker.ack(one.delivery)
                continue
            self._tasks.hold(task_id, one.delivery)
            if task_id in self._tasks or task_id in self._results or task_id in turn.finished:
                continue
            if row is not None and row.mark is Mark.FINISHED:
                # Confirmed in this very turn, whose write is still to come.
                continue
            self._now.moved = True
            self._now.taken += 1
            if isinstance(one, intake.Turned):
                self._end(task_id, one.error.code, one.error.public, turn)
            elif self._stop is None:
                self._tasks.add(one.job, attempts=row.attempts if row else 0)

    def _drop(self, one: intake.Arrival | intake.Turned) -> None:
        reason = str(one.error) if isinstance(one, intake.Turned) else ""
        log.warning("not a task", extra={"event": "task.dropped", "reason": reason})
        self._broker.reject(one.delivery, requeue=False)

    def _on_finished(self, event: Finished, turn: Turn) -> int:
        if not self._tasks.end(event.task_id):
            return 0
        self._now.moved = True
        self._now.started_at_ns.pop(event.task_id, None)
        turn.finished[event.task_id] = event.body
        return 1

    def _on_lost(self, event: Lost, turn: Turn) -> None:
        if event.task_id not in self._tasks.running:
            return
        self._now.moved = True
        self._now.started_at_ns.pop(event.task_id, None)
        log.warning("worker lost", extra={"event": "task.lost", "task": event.task_id})
        if not self._tasks.lose(event.task_id):
            self._tasks.end(event.task_id)
            self._end(event.task_id, ErrorCode.TASK_LOST, event.reason, turn)

    def _fail_waiting(self, reason: str, turn: Turn) -> None:
        dropped = self._tasks.drop_waiting()
        log.error(
            "engine broken",
            extra={"event": "engine.broken", "reason": reason, "count": len(dropped)},
        )
        for task_id in dropped:
            self._end(task_id, ErrorCode.START_FAILED, reason, turn)

    def _end(self, task_id: TaskId, code: ErrorCode, sentence: str, turn: Turn) -> None:
        turn.finished[task_id] = self._failure(task_id, code, sentence)

    def _failure(self, task_id: TaskId, code: ErrorCode, sentence: str) -> bytes:
        return failure(task_id, code, sentence, endpoint_id=self._settings.endpoint_id)

    # The link.

    def _on_link(self, link: Link) -> None:
        if link is Link.UP:
            first = self._now.link_since is None and self._now.beat_at == float("inf")
            self._now.link_since = time.monotonic()
            if first and self._stop is None:
                self._broker.consume(self._settings.task_queue, self._inbox.put, exclusive=True)
            self._results.link_up()
            self._now.beat_at = time.monotonic()
        elif link is Link.DOWN:
            self._now.link_since = None
            self._results.link_down()
        else:
            self._now.link_since = None
            self._results.link_down()
            self._on_stop(Stop("the broker refuses our credential", Exit.BROKER_REFUSED))

    def _beat(self) -> None:
        now_s = time.monotonic()
        self._now.beat_at = now_s + self._settings.heartbeat_period_s
        self._idle = self._idle.beat(moved=self._now.moved)
        self._now.moved = False
        if self._now.link_since is not None:
            self._results.again()
            load = Load(self._tasks.waiting, len(self._tasks.running), self._now.taken)
            started = sorted(self._now.started_at_ns.items(), key=lambda item: item[1])
            self._broker.publish(self._heartbeat.report(self._engine.status(), load, started))
            if now_s - self._now.link_since > _KEEP_CONFIRMED_S:
                self._ledger.prune(confirmed_before=time.time() - _KEEP_CONFIRMED_S)
        here = self._tasks.waiting + len(self._tasks.running) + len(self._results)
        leave = self._idle.verdict(tasks=here)
        if leave is not None:
            self._on_stop(Stop(leave.value))

    # Leaving.

    def _recover(self) -> None:
        """Take over what an earlier process of this user endpoint left."""
        self._results.offer(
            (task_id, row.result or b"") for task_id, row in self._ledger.unconfirmed().items()
        )
        turn = Turn()
        for task_id, row in self._ledger.unfinished().items():
            if not self._tasks.may_retry(row.attempts):
                sentence = (
                    "The user endpoint ended while this task ran. Whether its function ran to "
                    "the end is not known; it was not run again."
                )
                self._end(task_id, ErrorCode.TASK_LOST, sentence, turn)
        if turn.finished:
            log.warning(
                "tasks of an earlier process are lost",
                extra={"event": "task.lost", "count": len(turn.finished)},
            )
        self._act(turn, [])

    def _on_stop(self, stop: Stop) -> None:
        if self._stop is not None:
            return
        log.info("leaving", extra={"event": "endpoint.leaving", "reason": stop.reason})
        self._stop = stop
        self._leave_at = time.monotonic() + self._settings.grace_s
        self._broker.cancel(self._settings.task_queue)
        # They are not acknowledged: the broker gives them to whoever comes next.
        self._tasks.drop_waiting()

    def _done(self) -> bool:
        if self._stop is None:
            return False
        return not len(self._tasks.running) or time.monotonic() >= self._leave_at

    def _finish(self) -> Exit:
        stop = self._stop or Stop("")
        self._engine.stop()
        self._lose_running()
        if self._now.link_since is not None:
            self._leave_at = time.monotonic() + _PUBLISH_S
            while len(self._results) and time.monotonic() < self._leave_at:
                self._turn(self._events())
            self._broker.publish(self._heartbeat.last())
        return stop.code

    def _lose_running(self) -> None:
        turn = Turn()
        for task_id in sorted(self._tasks.running):
            if self._tasks.lose(task_id):
                # It may be tried again; the broker keeps it for whoever comes next.
                continue
            self._tasks.end(task_id)
            sentence = (
                "The user endpoint was stopped while this task ran, and the task was ended with it."
            )
            self._end(task_id, ErrorCode.TASK_LOST, sentence, turn)
        self._tasks.drop_waiting()
        self._act(turn, [])


def _task_of(one: intake.Arrival | intake.Turned) -> TaskId | None:
    return one.job.task_id if isinstance(one, intake.Arrival) else one.task_id
