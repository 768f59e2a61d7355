"""Which nodes of a block each MPI task has: first come, first served. Runs in the worker pool.

It stands in the place of Parsl's `MPITaskScheduler`. That one (2026.10) gives a task that waits
to itself again and again until Python's stack is full, when one node gets free and the task
needs two; lets small tasks pass a large one as long as they come; and fails at a task that asks
for no nodes. Here a large task waits at the head, and who comes after it waits behind it.
"""

from __future__ import annotations

import logging
import pickle
import platform
import threading
from collections import deque
from functools import partial
from typing import Any, Final

from chamberlain_endpoint.engine.family import LAUNCHER_PATIENCE_S, end_marked
from chamberlain_endpoint.engine.slots import Recalled, Slots

log = logging.getLogger(__name__)

_ONE_BUFFER: Final = 1_000_000


class Nodes:
    """The nodes of one block, and who waits for them. Pure."""

    def __init__(self, names: list[str]) -> None:
        # PBS names a node once for each of its processes.
        self.names = tuple(dict.fromkeys(names))
        self._free = list(self.names)
        self._waiting: deque[tuple[int, int]] = deque()
        self._taken: dict[int, list[str]] = {}

    def ask(self, task: int, count: int) -> None:
        """Let `task` wait for `count` nodes, which are not more than there are."""
        self._waiting.append((task, count))

    def begin(self) -> list[tuple[int, list[str]]]:
        """Return the tasks that have their nodes now, and begin, with their nodes."""
        begun = []
        while self._waiting and self._waiting[0][1] <= len(self._free):
            task, count = self._waiting.popleft()
            self._taken[task], self._free = self._free[:count], self._free[count:]
            begun.append((task, self._taken[task]))
        return begun

    def end(self, task: int) -> None:
        """Take back the nodes of `task`; no effect if it had none."""
        self._free += self._taken.pop(task, [])

    def drop(self, task: int) -> bool:
        """Let `task` wait no longer; False when it did not wait."""
        for one in self._waiting:
            if one[0] == task:
                self._waiting.remove(one)
                return True
        return False


class NodeScheduler:
    """See Parsl's `TaskScheduler`: one thread puts tasks, another gets results.

    Args:
        slots: tells which tasks are cancelled; None: nobody does.
    """

    def __init__(
        self, pending_task_q: Any, pending_result_q: Any, slots: Slots | None = None
    ) -> None:
        self._tasks = pending_task_q
        self._results = pending_result_q
        self._lock = threading.Lock()
        self._nodes = Nodes(nodes_of_block())
        self._packages: dict[int, dict[str, Any]] = {}
        if slots is not None:
            slots.not_begun = self.drop
        log.warning("nodes of this block: %s", ",".join(self._nodes.names))

    def put_task(self, package: dict[str, Any]) -> None:
        """Run the task as soon as its nodes are free."""
        asked = package.get("context", {}).get("resource_spec", {}).get("num_nodes")
        if not asked:
            self._tasks.put(package)
            return
        if asked > len(self._nodes.names):
            self._refuse(package, asked)
            return
        with self._lock:
            self._packages[package["task_id"]] = package
            self._nodes.ask(package["task_id"], asked)
            self._begin()

    def get_result(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next result; the nodes of its task are others' then."""
        packed = self._results.get(block, timeout)
        if packed is None:
            return None
        result = pickle.loads(packed)  # noqa: S301 - of our own worker, as Parsl does
        if result["type"] != "result":
            return packed
        package = self._packages.get(result["task_id"])
        if package is not None and "exception" in result:
            # The worker is dead; what it had started on the nodes may not be.
            end_marked(_task_of(package), patience_s=LAUNCHER_PATIENCE_S)
        with self._lock:
            self._packages.pop(result["task_id"], None)
            self._nodes.end(result["task_id"])
            self._begin()
        return packed

    def drop(self, task_id: str) -> None:
        """Give the task up if it waits for nodes."""
        with self._lock:
            for task, package in self._packages.items():
                if _task_of(package) == task_id and self._nodes.drop(task):
                    self._answer(task, error=Recalled(task_id))
                    self._begin()
                    return

    def _begin(self) -> None:
        for task, names in self._nodes.begin():
            package = self._packages[task]
            package["context"]["resource_spec"]["MPI_NODELIST"] = ",".join(names)
            self._tasks.put(package)

    def _refuse(self, package: dict[str, Any], asked: int) -> None:
        from chamberlain_endpoint.engine.resources import too_many_nodes
        from chamberlain_endpoint.engine.worker import refused

        said = too_many_nodes(asked, len(self._nodes.names))
        self._answer(package["task_id"], result=refused(package["buffer"], said))

    def _answer(
        self, task: int, *, result: bytes | None = None, error: Exception | None = None
    ) -> None:
        from parsl.app.errors import RemoteExceptionWrapper
        from parsl.serialize import serialize

        answer: dict[str, Any] = {"type": "result", "task_id": task}
        if error is None:
            answer["result"] = serialize(result, buffer_threshold=_ONE_BUFFER)
        else:
            answer["exception"] = serialize(RemoteExceptionWrapper(type(error), error, None))
        self._results.put(pickle.dumps(answer))


def nodes_of_block() -> list[str]:
    """Return the names of the nodes of the job that this process is in; without one, this host."""
    from parsl.executors.high_throughput import mpi_resource_management as theirs

    scheduler = theirs.identify_scheduler()
    if scheduler is theirs.Scheduler.Unknown:
        return [platform.node()]
    return [*theirs.get_nodes_in_batchjob(scheduler)]


def stand_in(slots: Slots | None) -> None:
    """Have the worker pool of this process use `NodeScheduler`; before it is imported."""
    from parsl.executors.high_throughput import mpi_resource_management as theirs

    if slots is not None:
        slots.patience_s = LAUNCHER_PATIENCE_S
    theirs.MPITaskScheduler = partial(NodeScheduler, slots=slots)  # type: ignore[assignment, misc]


def _task_of(package: dict[str, Any]) -> str:
    from chamberlain_endpoint.engine.worker import task_of

    return task_of(package["buffer"])
