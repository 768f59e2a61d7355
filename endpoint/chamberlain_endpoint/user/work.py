"""What becomes of each task: taken, handed over, ended, published, acknowledged.

One `Turn` collects what is decided; `act` makes it durable in one transaction and only then
does what it says. Nothing here waits, and nothing here knows a clock but the time stamps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chamberlain_endpoint.engine.port import (
    Engine,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    Returned,
    Rules,
)
from chamberlain_endpoint.user import cancels, intake
from chamberlain_endpoint.user.cancels import Cancels
from chamberlain_endpoint.user.claims import Claims
from chamberlain_endpoint.user.ledger import Ledger, Mark, Turn
from chamberlain_endpoint.user.pace import Pace
from chamberlain_endpoint.user.results import Results, failure, told_by
from chamberlain_endpoint.user.started import Started
from chamberlain_endpoint.user.tasks import Tasks
from chamberlain_wire.allowed import AllowList
from chamberlain_wire.broker.port import Broker, Delivery
from chamberlain_wire.claims import What
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import TaskId
from chamberlain_wire.states import CancelOutcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms tasks run here.

    Attributes:
        retries: how often a task whose worker went away is run again.
        allowed: functions that may run here; None is all.
    """

    rules: Rules
    retries: int = 0
    allowed: AllowList | None = None


class Work:
    """The tasks of one user endpoint. One thread.

    Attributes:
        held: hand over nothing; it is not known yet what was cancelled.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        broker: Broker,
        engine: Engine,
        ledger: Ledger,
        results: Results,
        claims: Claims | None = None,
    ) -> None:
        self._terms = terms
        self._broker = broker
        self._engine = engine
        self._ledger = ledger
        self._results = results
        self._claims = claims or Claims(None)
        self._tasks = Tasks(terms.retries)
        self._pace = Pace()
        self._closed = False
        self._started = Started()
        self._cancels = Cancels(self._tasks, engine, ledger, results, self._cancelled)
        self.held = False
        self.taken = 0
        self.moves = 0

    @property
    def waiting(self) -> int:
        """Tasks that the engine does not have yet."""
        return self._tasks.waiting

    @property
    def running(self) -> int:
        """Tasks that the engine has."""
        return len(self._tasks.running)

    @property
    def is_ahead(self) -> bool:
        """Whether the engine has more tasks than it can run at once."""
        return len(self._tasks.running) > self._engine.capacity > 0

    @property
    def started(self) -> Started:
        """Running tasks, and since when."""
        return self._started

    def recover(self) -> None:
        """Take over what an earlier process of this user endpoint left."""
        self._results.offer(
            (task_id, row.result or b"") for task_id, row in self._ledger.unconfirmed().items()
        )
        turn = Turn()
        for task_id, row in self._ledger.unfinished().items():
            if not self._tasks.may_retry(row.attempts):
                self._end(
                    turn,
                    task_id,
                    ErrorCode.TASK_LOST,
                    "The user endpoint ended while this task ran. Whether its function ran to "
                    "the end is not known; it was not run again.",
                )
        if turn.finished:
            log.warning(
                "tasks of an earlier process are lost",
                extra={"event": "task.lost", "count": len(turn.finished)},
            )
        self._do(turn, [])

    def take(self, deliveries: Sequence[Delivery], turn: Turn) -> None:
        """Let new tasks wait; answer repeats from what is known."""
        terms = self._terms
        came = []
        for delivery in deliveries:
            one = intake.read(delivery, terms.rules, terms.allowed)
            if one.task_id is None:
                log.warning("not a task", extra={"event": "task.dropped", "reason": str(one)})
                self._broker.reject(delivery, requeue=False)
            else:
                came.append((one.task_id, one))
        rows = self._ledger.look([task_id for task_id, _ in came])
        for task_id, one in came:
            row = rows.get(task_id)
            if row is not None and row.mark is Mark.CONFIRMED:
                # Its acknowledgement was lost with an earlier connection.
                self._broker.ack(one.delivery)
                continue
            self._tasks.hold(task_id, one.delivery)
            if not self._knows(task_id, turn) and (row is None or row.mark is Mark.STARTED):
                self._admit(task_id, one, turn, attempts=row.attempts if row else 0)

    def finished(self, report: Finished, turn: Turn) -> None:
        """Take a result from the engine."""
        task_id = report.task_id
        if self._tasks.end(task_id):
            self._started.end(task_id)
            turn.ended += 1
            if not self._cancels.settle(task_id, turn, CancelOutcome.LATE):
                turn.finished[task_id] = report.body
                what, job = told_by(report.body)
                self._claims.ended(task_id, what, job)

    def lost(self, report: Lost, turn: Turn) -> None:
        """Take the death of a task's worker: try again where that is allowed, else end it."""
        task_id = report.task_id
        if task_id not in self._tasks.running:
            return
        self._started.end(task_id)
        if self._cancels.settle(task_id, turn, CancelOutcome.KILLED):
            self._tasks.end(task_id)
            return
        log.warning("worker lost", extra={"event": "task.lost", "task": task_id})
        if not self._tasks.lose(task_id):
            self._tasks.end(task_id)
            sentence = f"{report.reason} It was not run again."
            self._end(turn, task_id, ErrorCode.TASK_LOST, sentence)

    def returned(self, report: Returned, turn: Turn) -> None:
        """Let a task wait again that the engine could not start."""
        task_id = report.task_id
        if task_id not in self._tasks.running:
            return
        self._started.end(task_id)
        if self._cancels.settle(task_id, turn, CancelOutcome.BEFORE_START):
            self._tasks.end(task_id)
        else:
            self._tasks.put_back(task_id)

    def cancel(self, task_ids: Iterable[TaskId], turn: Turn) -> None:
        """Take the hub's word that these tasks are over: end what can be ended, and say how."""
        self._cancels.order(task_ids, turn)

    def fail_waiting(self, reason: str, turn: Turn) -> None:
        """End all that waits, with `reason` for the caller."""
        dropped = self._tasks.drop_waiting()
        log.error(
            "engine broken",
            extra={"event": "engine.broken", "reason": reason, "count": len(dropped)},
        )
        for task_id in dropped:
            self._end(turn, task_id, ErrorCode.START_FAILED, reason)

    def act(self, turn: Turn) -> None:
        """Hand over what fits, make the turn durable, then do what it says."""
        now_s = time.monotonic()
        self._pace.note(turn.ended, now_s=now_s)
        self.moves += len(turn.finished)
        jobs = [] if self._closed else self._pick(now_s)
        turn.started.extend(job.task_id for job in jobs)
        self._do(turn, jobs)
        if not self._closed:
            self._engine.want(self._tasks.waiting)

    def close(self) -> None:
        """Hand over nothing any more.

        What waits is forgotten and not acknowledged: the broker gives it to whoever comes
        next.
        """
        self._closed = True
        for task_id in self._tasks.drop_waiting():
            self._claims.forget(task_id)

    def abandon(self) -> None:
        """End what runs as lost; its engine was stopped."""
        turn = Turn()
        for task_id in sorted(self._tasks.running):
            if self._cancels.settle(task_id, turn, CancelOutcome.KILLED):
                self._tasks.end(task_id)
                continue
            if self._tasks.lose(task_id):
                # It may be tried again, by whoever comes next.
                continue
            self._tasks.end(task_id)
            self._end(
                turn,
                task_id,
                ErrorCode.TASK_LOST,
                "The user endpoint was stopped while this task ran, and the task was ended "
                "with it.",
            )
        self._tasks.drop_waiting()
        self._started.clear()
        self._do(turn, [])

    def _knows(self, task_id: TaskId, turn: Turn) -> bool:
        # A task can end and come again in the same turn, before the ledger is written.
        return task_id in self._tasks or task_id in self._results or task_id in turn.finished

    def _admit(
        self, task_id: TaskId, one: intake.Arrival | intake.Turned, turn: Turn, *, attempts: int
    ) -> None:
        self.taken += 1
        self.moves += 1
        if isinstance(one, intake.Turned):
            self._claims.received(task_id, one.function, one.buffer)
            self._end(turn, task_id, one.error.code, one.error.public, What.REFUSED)
        elif not self._closed:
            self._claims.received(task_id, one.function, one.job.buffer)
            self._tasks.add(one.job, attempts=attempts)

    def _pick(self, now_s: float) -> list[Job]:
        capacity = self._engine.capacity if self._tasks.waiting else 0
        if capacity == 0 or self.held:
            return []
        room = capacity + self._pace.ahead(now_s=now_s) - len(self._tasks.running)
        jobs = self._tasks.pick(room)
        self._started.begin((job.task_id for job in jobs), now_s=now_s, at_ns=time.time_ns())
        return jobs

    def _do(self, turn: Turn, jobs: Sequence[Job]) -> None:
        self._ledger.write(turn, now=time.time())
        for task_id in turn.confirmed:
            delivery = self._tasks.release(task_id)
            if delivery is not None:
                self._broker.ack(delivery)
        self._results.offer(turn.finished.items())
        if jobs:
            self._submit(jobs)
        self._claims.flush()

    def _submit(self, jobs: Sequence[Job]) -> None:
        refused = Turn()
        for job in jobs:
            try:
                self._engine.submit(job)
            except JobRefusedError as error:
                self._tasks.end(job.task_id)
                self._started.end(job.task_id)
                self._end(refused, job.task_id, error.code, error.public, What.REFUSED)
                continue
            self._claims.started(job.task_id)
        self._do(refused, [])

    def _cancelled(self, task_id: TaskId, outcome: CancelOutcome) -> bytes:
        self._claims.ended(task_id, What.CANCELLED)
        return cancels.body(task_id, outcome, self._terms.rules.endpoint_id)

    def _end(
        self,
        turn: Turn,
        task_id: TaskId,
        code: ErrorCode,
        sentence: str,
        what: What = What.FAILED,
    ) -> None:
        self._claims.ended(task_id, what)
        endpoint_id = self._terms.rules.endpoint_id
        turn.finished[task_id] = failure(task_id, code, sentence, endpoint_id=endpoint_id)
