"""All that one executor has running in one process: senders, functions, results, open tasks."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Final

from chamberlain.batching import Call, Destination, Sender
from chamberlain.cancelling import cancel_tasks
from chamberlain.errors import ChamberlainError
from chamberlain.functions import Functions
from chamberlain.futures import ChamberlainFuture, OpenTasks
from chamberlain.outcomes import settle
from chamberlain.rest import Rest
from chamberlain.results import OpenBroker, ResultStream, open_rabbit
from chamberlain.submission import Submission
from chamberlain.versions import Versions
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import Serializer
from chamberlain_wire.states import CancelAnswer

log = logging.getLogger(__name__)

_FLUSH_S: Final = 10.0
_ACCEPT_S: Final = 10.0
"""How long cancelling waits for the answer to a submit that is under way."""
_ASK_S: Final = 5.0


class HubLink:
    """One executor's business with the hub, in the process that made this object.

    A fork takes neither threads nor connections along: the child makes a link of its own.
    """

    def __init__(
        self,
        rest: Rest,
        serializer: Serializer,
        *,
        batch_size: int,
        open_broker: OpenBroker = open_rabbit,
    ) -> None:
        self.pid = os.getpid()
        self.open_tasks = OpenTasks()
        self.functions = Functions(
            serializer, lambda body: str(rest.post("/v3/functions", body)["function_uuid"])
        )
        versions = Versions(rest, serializer)

        def settled(future: ChamberlainFuture, result: Result) -> None:
            versions.learn(future.endpoint_id, result.details or {})
            settle(future, result, serializer)

        self.results = ResultStream(rest, self.open_tasks, settled, open_broker)
        submission = Submission(
            rest.post, self.functions, self.results.watch, before=versions.check
        )

        def send(to: Destination, calls: list[Call]) -> None:
            try:
                submission.send(to, calls)
            finally:
                self.open_tasks.accept(call.future.task_id for call in calls)

        self._rest = rest
        self._sender = Sender(send, batch_size=batch_size)

    def send(self, to: Destination, call: Call) -> None:
        """Send `call`; its future ends when the task does."""
        call.future.asks(self.cancel)
        self.open_tasks.add(call.future)
        self._sender.put(to, call)

    def follow(self, group: str, futures: list[ChamberlainFuture]) -> None:
        """End `futures` of tasks that were sent before, by whomever, in task group `group`."""
        for future in futures:
            future.set_running_or_notify_cancel()
            future.asks(self.cancel)
            self.open_tasks.add(future)
        self.open_tasks.accept([future.task_id for future in futures])
        self.results.watch(group)

    def cancel(self, futures: Sequence[ChamberlainFuture]) -> None:
        """Have the hub cancel tasks that were sent; ends the futures of those that it did."""
        if self.pid != os.getpid():
            # A forked child has no business with its parent's tasks.
            return
        task_ids = [future.task_id for future in futures]
        # The hub can only cancel what it knows.
        self.open_tasks.await_accepted(task_ids, _ACCEPT_S)
        try:
            answers = cancel_tasks(self._rest, task_ids, patience_s=_ASK_S)
        except (ChamberlainError, OSError) as error:
            log.warning(
                "tasks not cancelled",
                extra={"event": "cancel.failed", "count": len(task_ids), "reason": str(error)},
            )
            return
        for future in futures:
            if answers.get(future.task_id) in {CancelAnswer.CANCELLED, CancelAnswer.ASKED}:
                future.end_cancelled()

    def cancel_all(self) -> None:
        """Cancel every task whose future is open."""
        sent = [future for future in self.open_tasks.futures() if not future.withdraw()]
        if sent:
            self.cancel(sent)

    def finish(self) -> None:
        """Wait until every future has ended, then close."""
        # Futures' own waiting, so that all are done, and not only known to be, on return.
        while open_ones := self.open_tasks.futures():
            wait(open_ones)
        self.close()

    def finish_later(self) -> None:
        """Close when every future has ended; return at once."""
        if self.open_tasks.futures():
            threading.Thread(target=self.finish, name="chamberlain-shutdown", daemon=True).start()
        else:
            self.close()

    def flush(self) -> None:
        """At the end of the interpreter: send what was submitted; wait for no result."""
        self._sender.wait_sent(_FLUSH_S)
        self.close()

    def close(self) -> None:
        """Give the broker session back."""
        self.results.close()
