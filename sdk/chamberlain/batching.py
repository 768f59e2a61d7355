"""Natural batching: send at once when idle, gather while a request is under way.

The first call goes out alone, and what came in the meantime goes out together when its answer
is here. Only who sends many at once waits a moment for more: large batches cost the hub less.
Calls for different destinations never wait for each other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from chamberlain.functions import Function
from chamberlain.futures import ChamberlainFuture
from chamberlain_wire.limits import MAX_SUBMIT_BYTES, MAX_TASKS_PER_SUBMIT

log = logging.getLogger(__name__)

_IDLE_S: Final = 10.0
_MANY: Final = 8
"""From how many calls on a batch shows that somebody sends many at once."""
_GATHER_S: Final = 0.005
# The rest is for ids, commas and the caller's options.
_BATCH_BYTES: Final = MAX_SUBMIT_BYTES - 256 * 1024
_ID_BYTES: Final = 80


@dataclass(frozen=True, slots=True)
class Destination:
    """What the calls of one request have in common.

    Attributes:
        options: `user_endpoint_config` as canonical JSON; `null` for none.
        resources: `resource_specification` in the same form.
    """

    endpoint_id: str
    task_group_id: str
    options: str
    resources: str
    result_serializers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One task to send.

    Attributes:
        payload: packed arguments, encoded as JSON text once.
    """

    future: ChamberlainFuture
    function: Function
    payload: msgspec.Raw

    @property
    def size_bytes(self) -> int:
        """How much it adds to a request."""
        return len(bytes(self.payload)) + _ID_BYTES


Post = Callable[[Destination, list[Call]], None]
"""Sends calls, and ends the futures of those that it could not send. Never raises."""


class Lane:
    """The calls for one destination, in order, one request at a time."""

    def __init__(self, destination: Destination, post: Post, batch_size: int) -> None:
        self._destination = destination
        self._post = post
        self._batch_size = min(batch_size, MAX_TASKS_PER_SUBMIT)
        self._changed = threading.Condition()
        self._waiting: deque[Call] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False

    def put(self, call: Call) -> None:
        """Send `call` as soon as the request under way, if any, is answered."""
        with self._changed:
            self._waiting.append(call)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="chamberlain-submit", daemon=True
                )
                self._thread.start()
            else:
                self._changed.notify_all()

    def wait_sent(self, deadline: float) -> bool:
        """Wait until nothing waits or is under way; False when monotonic `deadline` came first."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._waiting or self._busy), max(0.0, deadline - time.monotonic())
            )

    def _run(self) -> None:
        many = False
        while batch := self._next_batch(gather=many):
            many = len(batch) >= _MANY
            live = [call for call in batch if call.future.set_running_or_notify_cancel()]
            if live:
                self._post(self._destination, live)

    def _next_batch(self, *, gather: bool) -> list[Call]:
        """Return the next calls to send, or none when the thread may end."""
        if gather and len(self._waiting) < self._batch_size:
            time.sleep(_GATHER_S)
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._waiting, _IDLE_S):
                self._thread = None
                return []
            self._busy = True
            batch = [self._waiting.popleft()]
            size_bytes = batch[0].size_bytes
            while self._waiting and len(batch) < self._batch_size:
                size_bytes += self._waiting[0].size_bytes
                if size_bytes > _BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft())
            return batch


class Sender:
    """All lanes of one executor. Thread-safe."""

    def __init__(self, post: Post, *, batch_size: int) -> None:
        self._post = post
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._lanes: dict[Destination, Lane] = {}

    def put(self, destination: Destination, call: Call) -> None:
        """Send `call` to `destination`, together with what else is going there."""
        with self._lock:
            lane = self._lanes.get(destination)
            if lane is None:
                lane = self._lanes[destination] = Lane(destination, self._post, self._batch_size)
        lane.put(call)

    def wait_sent(self, timeout_s: float) -> bool:
        """Wait until all has been sent; False when `timeout_s` went by first."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            lanes = list(self._lanes.values())
        return all(lane.wait_sent(deadline) for lane in lanes)
