"""Tells the pools of all nodes which running tasks to end, and that we are there.

Parsl takes a task back from nobody. So each pool listens to a socket of ours, beside Parsl's
own and with the same keys, and ends the one worker that runs the task (`slots`). An order is
repeated until the task's end is reported: a pool may connect late. An empty order is a beat; a
pool that heard one and then nothing for too long ends itself (`lifeline`).
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from chamberlain_endpoint.engine import lifeline
from chamberlain_endpoint.engine.doors import open_lazily
from chamberlain_endpoint.engine.slots import Slots
from chamberlain_wire.ids import TaskId

if TYPE_CHECKING:
    from chamberlain_endpoint.engine.meeting import Meeting

log = logging.getLogger(__name__)

_AGAIN_S: Final = 0.5
_END_S: Final = 2.0


class Recall:
    """The user endpoint's side. Thread-safe; it has a thread of its own."""

    def __init__(self, meeting: Meeting, *, beat_s: float = lifeline.BEAT_S) -> None:
        self._meeting = meeting
        self._beat_s = beat_s
        self._calls: queue.SimpleQueue[tuple[TaskId, bool] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to listen, in the background."""
        self._thread = threading.Thread(target=self._run, name="recall", daemon=True)
        self._thread.start()

    def ask(self, task_id: TaskId) -> bool:
        """Have the worker of `task_id` ended; False when no pool can be told."""
        if self._thread is None or not self._thread.is_alive():
            return False
        self._calls.put((task_id, True))
        return True

    def done(self, task_id: TaskId) -> None:
        """The end of `task_id` was reported."""
        self._calls.put((task_id, False))

    def close(self) -> None:
        """Stop. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            thread.join(_END_S)

    def _run(self) -> None:
        open_lazily()
        import zmq
        from parsl import curvezmq

        url = self._meeting.recall_url
        context: Any = curvezmq.ServerContext(self._meeting.certificates)
        out = context.socket(zmq.PUB)
        try:
            out.setsockopt(zmq.LINGER, 0)
            out.bind(url)
            self._tell(out)
        except zmq.ZMQError as error:
            log.warning(
                "running tasks cannot be cancelled",
                extra={"event": "recall.failed", "reason": f"{url}: {error}"},
            )
        finally:
            out.close()
            context.term()

    def _tell(self, out: Any) -> None:
        wanted: dict[TaskId, None] = {}
        while True:
            try:
                call = self._calls.get(timeout=_AGAIN_S if wanted else self._beat_s)
            except queue.Empty:
                for order in wanted or [""]:
                    out.send(order.encode())
                continue
            if call is None:
                return
            task_id, ask = call
            if ask:
                wanted[task_id] = None
                out.send(task_id.encode())
            else:
                wanted.pop(task_id, None)


def listen(url: str, certificates: str | None, slots: Slots | None, *, lease_s: float) -> None:
    """Do what is told at `url`, in a thread of this pool.

    Args:
        slots: None: only hear whether somebody is there.
        lease_s: end this process after so long a silence, once something was heard.
    """
    threading.Thread(
        target=_listen, args=(url, certificates, slots, lease_s), name="recall", daemon=True
    ).start()


def _listen(url: str, certificates: str | None, slots: Slots | None, lease_s: float) -> None:
    import zmq
    from parsl import curvezmq

    orders = curvezmq.ClientContext(certificates).socket(zmq.SUB)
    orders.setsockopt(zmq.SUBSCRIBE, b"")
    orders.connect(url)
    # A site's firewall may let nothing of this through: then Parsl's own heartbeats must do.
    wait_ms = None
    while orders.poll(wait_ms):
        wait_ms = round(lease_s * 1000)
        order = orders.recv().decode("ascii", "replace")
        if order and slots is not None:
            slots.recall(order)
    lifeline.end_pool(lease_s)
