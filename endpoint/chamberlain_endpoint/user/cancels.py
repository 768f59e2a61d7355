"""What the hub's word that a task is cancelled does here.

The hub has ended the task already, whatever happens here; this ends the work, and answers each
order with a result that says what became of it. The answer takes the way of every result, over
the ledger, so a task that comes after its order does not run either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Final

from chamberlain_endpoint.engine.port import Engine
from chamberlain_endpoint.user.ledger import Ledger, Mark, Turn
from chamberlain_endpoint.user.results import Results, failure
from chamberlain_endpoint.user.tasks import Tasks
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import TaskId
from chamberlain_wire.states import CancelOutcome

log = logging.getLogger(__name__)

_SENTENCES: Final = MappingProxyType(
    {
        CancelOutcome.BEFORE_START: "The task was cancelled before it started.",
        CancelOutcome.KILLED: "The task was cancelled while it ran; its process was ended.",
        CancelOutcome.GOES_ON: "The task was cancelled while it ran in a thread, which cannot be "
        "ended: the function goes on, and its result will be dropped.",
        CancelOutcome.LATE: "The task was cancelled, and had run to its end; its result was "
        "dropped.",
    }
)


class Cancels:
    """The cancelled tasks of one user endpoint. One thread.

    Args:
        body_of: returns the result that answers an order, and takes note that it was given.
    """

    def __init__(
        self,
        tasks: Tasks,
        engine: Engine,
        ledger: Ledger,
        results: Results,
        body_of: Callable[[TaskId, CancelOutcome], bytes],
    ) -> None:
        self._tasks = tasks
        self._engine = engine
        self._ledger = ledger
        self._results = results
        self._body_of = body_of
        # Tasks that the engine still has -> whether they were answered.
        self._running: dict[TaskId, bool] = {}

    def order(self, task_ids: Iterable[TaskId], turn: Turn) -> None:
        """End these tasks where that is possible. A repeat changes nothing."""
        strange = []
        for task_id in task_ids:
            if self._tasks.withdraw(task_id):
                self._answer(task_id, turn, CancelOutcome.BEFORE_START)
            elif task_id in self._tasks.running:
                self._order_running(task_id, turn)
            elif task_id not in turn.finished and task_id not in self._results:
                strange.append(task_id)
        for task_id in self._without_end(strange):
            # It may be on its way to us still. When it comes, the ledger knows it as ended.
            self._answer(task_id, turn, CancelOutcome.BEFORE_START)

    def settle(self, task_id: TaskId, turn: Turn, outcome: CancelOutcome) -> bool:
        """Tell that the engine gave a task up; True when it was cancelled, and is answered."""
        answered = self._running.pop(task_id, None)
        if answered is False:
            self._answer(task_id, turn, outcome)
        return answered is not None

    def _order_running(self, task_id: TaskId, turn: Turn) -> None:
        if task_id in self._running:
            return
        self._running[task_id] = False
        if not self._engine.cancel(task_id):
            # It keeps its place in the engine until it ends by itself.
            self._running[task_id] = True
            self._answer(task_id, turn, CancelOutcome.GOES_ON)

    def _without_end(self, task_ids: list[TaskId]) -> list[TaskId]:
        rows = self._ledger.look(task_ids)
        return [
            task_id
            for task_id in task_ids
            if task_id not in rows or rows[task_id].mark is Mark.STARTED
        ]

    def _answer(self, task_id: TaskId, turn: Turn, outcome: CancelOutcome) -> None:
        log.info(
            "task cancelled",
            extra={"event": "task.cancelled", "task": task_id, "state_to": outcome.value},
        )
        turn.finished[task_id] = self._body_of(task_id, outcome)


def body(task_id: TaskId, outcome: CancelOutcome, endpoint_id: str) -> bytes:
    """Return the result of a task that was cancelled."""
    return failure(
        task_id,
        ErrorCode.TASK_CANCELLED,
        _SENTENCES[outcome],
        endpoint_id=endpoint_id,
        cancelled=outcome.value,
    )
