"""Futures that know their task, and the table of those that are open."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chamberlain.logs import TaskLogs


class ChamberlainFuture(Future[Any]):
    """A `concurrent.futures.Future` of a task on an endpoint.

    In a coroutine it can be awaited; many can, with `asyncio.gather(*futures)`. Who stops
    awaiting leaves the task alone.

    Attributes:
        task_id: made here, before the task is sent; good for `Client.get_task`.
        endpoint_id: where it was sent to; empty when that is not known.
    """

    def __init__(self, task_id: str, endpoint_id: str = "") -> None:
        super().__init__()
        self.task_id = task_id
        self.endpoint_id = endpoint_id
        self._logs: TaskLogs | None = None
        self._fetch_logs: Callable[[str], TaskLogs] | None = None
        self._ask: Ask | None = None

    def logs(self, timeout: float | None = None) -> TaskLogs:
        """Return what the task printed, once it has ended, however it did.

        Most often it came with the result; otherwise the hub is asked.

        Args:
            timeout: seconds to wait for the end.

        Raises:
            TimeoutError: the task has not ended by then.
            CancelledError: it was cancelled before it was sent.
        """
        self.exception(timeout)
        if self._logs is None and self._fetch_logs is not None:
            self._logs = self._fetch_logs(self.task_id)
        if self._logs is None:
            raise RuntimeError(f"{self} is of no executor; ask Client.get_task_logs")
        return self._logs

    def cancel(self) -> bool:
        """Cancel the task, wherever it is; blocks for one question to the hub.

        True is a promise: no result will come, the future is cancelled, and `result()` raises
        `concurrent.futures.CancelledError`. The task has not been sent, or the hub has ended
        it; where it runs in a process of its own, that process is ended within seconds. In
        the endpoint's threads nothing can be ended: there the function goes on, and its
        result is dropped. False: it ended before, or the hub could not be asked.
        """
        if super().cancel():
            return True
        if self._ask is None or self.done():
            return False
        self._ask([self])
        return self.cancelled()

    def withdraw(self) -> bool:
        """Cancel it if it has not been sent; asks nobody."""
        return super().cancel()

    def asks(self, ask: Ask) -> None:
        """Let `ask` cancel what has been sent."""
        self._ask = ask

    def end_cancelled(self) -> None:
        """The task was cancelled at the hub; changes nothing once the future is done."""
        # The standard library knows no way from running to cancelled.
        with self._condition:
            if self.done():
                return
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<ChamberlainFuture {self.task_id} {self._state.lower()}>"

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio

        return asyncio.shield(asyncio.wrap_future(self)).__await__()


Ask = Callable[[Sequence[ChamberlainFuture]], None]
"""Asks the hub to cancel tasks, and ends the futures of those that it cancelled. Never raises."""


def note_logs(future: ChamberlainFuture, logs: TaskLogs | None) -> None:
    """Keep what came with the result; None leaves it to `logs` to ask."""
    if logs is not None:
        future._logs = logs


def ask_logs_of(future: ChamberlainFuture, fetch: Callable[[str], TaskLogs]) -> None:
    """Let `future.logs` ask `fetch` for what did not come with the result."""
    future._fetch_logs = fetch


def fail(future: ChamberlainFuture, error: BaseException) -> None:
    """End `future` with `error`, unless it has ended already."""
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)


class OpenTasks:
    """Tasks whose end nobody has seen yet. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._futures: dict[str, ChamberlainFuture] = {}
        self._accepted: set[str] = set()

    def add(self, future: ChamberlainFuture) -> None:
        """Remember `future` until it is done."""
        with self._changed:
            self._futures[future.task_id] = future
        future.add_done_callback(self._ended)

    def accept(self, task_ids: Iterable[str]) -> None:
        """Note that the hub knows these tasks, or has refused them."""
        with self._changed:
            self._accepted.update(self._futures.keys() & set(task_ids))
            self._changed.notify_all()

    def await_accepted(self, task_ids: Sequence[str], timeout_s: float) -> None:
        """Wait until the hub knows these tasks, those that are open still; no longer than that."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(one in self._accepted or one not in self._futures for one in task_ids),
                timeout_s,
            )

    def find(self, task_id: str) -> ChamberlainFuture | None:
        """Return the future of `task_id`; None when it is done, or another's."""
        with self._changed:
            return self._futures.get(task_id)

    def sent(self) -> list[str]:
        """Return the ids of the tasks that went to the hub, or are about to."""
        return [one.task_id for one in self.futures() if one.running()]

    def futures(self) -> list[ChamberlainFuture]:
        """Return all that are open."""
        with self._changed:
            return list(self._futures.values())

    def wait_empty(self) -> None:
        """Wait until none is open."""
        with self._changed:
            self._changed.wait_for(lambda: not self._futures)

    def _ended(self, future: Any) -> None:
        with self._changed:
            del self._futures[future.task_id]
            self._accepted.discard(future.task_id)
            if not self._futures:
                self._changed.notify_all()
