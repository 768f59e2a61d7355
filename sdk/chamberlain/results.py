"""Results by push: one broker connection, one thread that ends futures. Nothing is polled.

What is lost with a connection comes again with the next, because a result is acknowledged
after its future has ended. Where the push itself may have failed (a new connection, a refused
credential, a message that cannot be read), the hub is asked once for what is still open.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from chamberlain.errors import ChamberlainError, HubError, HubUnavailableError
from chamberlain.futures import ChamberlainFuture, OpenTasks, fail
from chamberlain.outcomes import from_rest
from chamberlain.rest import Rest
from chamberlain_wire.broker.port import Broker, BrokerError, Delivery, Link, OnLink
from chamberlain_wire.codec import decode
from chamberlain_wire.errors import InvalidMessageError
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import Result

log = logging.getLogger(__name__)

_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PREFETCH: Final = 500
_STATUS_AT_ONCE: Final = 500
_GOODBYE_S: Final = 2.0

Settle = Callable[[ChamberlainFuture, Result], None]
OpenBroker = Callable[[Secret[str], OnLink], Broker]


@dataclass(frozen=True, slots=True)
class _Watch:
    group: str


@dataclass(frozen=True, slots=True)
class _Came:
    session: int
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class _Linked:
    session: int
    link: Link


class _Stop:
    pass


_Event = _Watch | _Came | _Linked | _Stop


def open_rabbit(url: Secret[str], on_link: OnLink) -> Broker:
    """Return a broker for `url`, not opened yet."""
    from chamberlain_wire.broker.rabbit import RabbitBroker

    return RabbitBroker(url, name="chamberlain-sdk", on_link=on_link)


class ResultStream:
    """Ends the futures of `open_tasks` as their results come.

    Args:
        settle: ends one future with one result.
        open_broker: makes the broker for a session's address.
    """

    def __init__(
        self,
        rest: Rest,
        open_tasks: OpenTasks,
        settle: Settle,
        open_broker: OpenBroker = open_rabbit,
    ) -> None:
        self._rest = rest
        self._open_tasks = open_tasks
        self._settle = settle
        self._open_broker = open_broker
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._watched: set[str] = set()
        # Below: the stream's own thread only.
        self._groups: list[str] = []
        self._broker: Broker | None = None
        self._session = 0
        self._session_id: str | None = None
        self._prefix = ""
        self._failures = 0
        self._ask_hub = False
        self._was_up = False

    def watch(self, group: str) -> None:
        """End futures of task group `group`, too. Its queue must exist. Cheap to repeat."""
        with self._lock:
            if group in self._watched:
                return
            self._watched.add(group)
            self._events.put(_Watch(group))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="chamberlain-results", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Give the session back and end the thread. Safe to call twice."""
        with self._lock:
            thread = self._thread
        if thread is not None and thread.is_alive():
            self._events.put(_Stop())
            if thread is not threading.current_thread():
                thread.join(2 * _GOODBYE_S + 1.0)

    # Everything below runs in the stream's thread.

    def _run(self) -> None:
        while True:
            event = self._next()
            if isinstance(event, _Stop):
                break
            try:
                self._handle(event)
            except (ChamberlainError, OSError) as error:
                if _is_final(error):
                    self._give_up(error)
                    continue
                self._failures += 1
                log.warning(
                    "results cannot be followed, trying again",
                    extra={"event": "results.retried", "reason": str(error)},
                )
        self._leave()

    def _next(self) -> _Event | None:
        """Return what happens next; None when it is time for what is still to do."""
        if not self._groups or (self._broker is not None and not self._ask_hub):
            return self._events.get()
        tries = min(self._failures, len(_DELAYS_S))
        try:
            return self._events.get(timeout=_DELAYS_S[tries - 1] if tries else 0.0)
        except queue.Empty:
            return None

    def _handle(self, event: _Watch | _Came | _Linked | None) -> None:
        if isinstance(event, _Watch):
            self._groups.append(event.group)
            if self._broker is not None:
                self._consume(self._broker, event.group)
        elif isinstance(event, _Came):
            if event.session == self._session:
                self._on_delivery(event.delivery)
        elif isinstance(event, _Linked):
            if event.session == self._session:
                self._on_link(event.link)
        elif self._broker is None:
            self._connect()
        elif self._ask_hub:
            self._ask()

    def _connect(self) -> None:
        session = self._rest.call("GET", "/v2/get_amqp_result_connection_url", patience_s=0.0)
        self._session += 1
        number = self._session
        self._session_id = session.get("session_id")
        self._prefix = str(session["queue_prefix"])
        broker = self._open_broker(
            Secret(str(session["connection_url"])),
            lambda link: self._events.put(_Linked(number, link)),
        )
        # Set first: while it is not up it goes on trying by itself, and will say so.
        self._broker = broker
        self._was_up = False
        for group in self._groups:
            self._consume(broker, group)
        with contextlib.suppress(BrokerError):
            broker.open()

    def _consume(self, broker: Broker, group: str) -> None:
        number = self._session
        broker.consume(
            self._prefix + group,
            lambda delivery: self._events.put(_Came(number, delivery)),
            prefetch=_PREFETCH,
        )

    def _on_link(self, link: Link) -> None:
        if link is Link.REFUSED:
            self._failures += 1
            self._ask_hub = True
            self._drop_broker()
        elif link is Link.UP:
            # Not needed for the first link of the first session: the queue has everything.
            self._ask_hub = self._ask_hub or self._was_up
            self._was_up = True

    def _on_delivery(self, delivery: Delivery) -> None:
        self._failures = 0
        try:
            result = decode(delivery.body, Result)
        except InvalidMessageError as error:
            log.warning(
                "a result cannot be read",
                extra={"event": "result.unreadable", "reason": str(error)},
            )
            self._ask_hub = True
        else:
            self._end(result)
        if self._broker is not None:
            self._broker.ack(delivery)

    def _end(self, result: Result) -> None:
        future = self._open_tasks.find(result.task_id)
        if future is not None:
            self._settle(future, result)

    def _ask(self) -> None:
        waiting = iter(self._open_tasks.sent())
        while task_ids := list(islice(waiting, _STATUS_AT_ONCE)):
            answer = self._rest.post("/v2/batch_status", {"task_ids": task_ids}, patience_s=0.0)
            for task_id, document in answer["results"].items():
                result = from_rest({"task_id": task_id, **document})
                if result is not None:
                    self._end(result)
        self._ask_hub = False
        self._failures = 0

    def _give_up(self, error: BaseException) -> None:
        """Nobody tells us any more how tasks end: say so to everyone who waits."""
        with self._lock:
            # The next batch that is accepted begins again.
            self._watched.clear()
        self._groups.clear()
        self._drop_broker()
        for task_id in self._open_tasks.sent():
            future = self._open_tasks.find(task_id)
            if future is not None:
                fail(future, error)

    def _drop_broker(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.close(timeout_s=_GOODBYE_S)

    def _leave(self) -> None:
        self._drop_broker()
        if self._session_id is not None:
            # A courtesy: the hub also notices a session without a connection.
            with contextlib.suppress(ChamberlainError):
                self._rest.call("DELETE", f"/v3/sessions/{self._session_id}", patience_s=0.0)


def _is_final(error: BaseException) -> bool:
    """Tell whether the hub would say the same again."""
    return (
        isinstance(error, HubError)
        and not isinstance(error, HubUnavailableError)
        and 400 <= error.status < 500
    )
