"""The main loop: one thread, one queue of events, everything available in one turn.

A turn takes all events that are there, decides, makes the decisions durable in one
transaction, and only then acts. Nothing waits for a clock but the heartbeat; batches form by
themselves while the disk works on the one before.
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
    Lost,
    Report,
    Returned,
)
from chamberlain_endpoint.user.claims import Claims
from chamberlain_endpoint.user.control import Control
from chamberlain_endpoint.user.heartbeat import MOST_TRANSITIONS, Heartbeat, Load
from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.ledger import Ledger, Turn
from chamberlain_endpoint.user.results import Confirmed, Results, Unconfirmed
from chamberlain_endpoint.user.work import Terms, Work
from chamberlain_wire.broker.port import Broker, Delivery, Link

log = logging.getLogger(__name__)

_MOST_EVENTS: Final = 5_000
_KEEP_CONFIRMED_S: Final = 60.0
_PUBLISH_S: Final = 2.0
"""How long leaving may wait for the broker's confirms."""
_GATHER_S: Final = 0.01
"""How long a turn lets events come together while the engine has tasks ahead of it.

One by one, each would cost a transaction and packets of its own, here, at the broker and at
the hub. The engine does not wait for it: what it has ahead lasts for longer.
"""
_NEVER: Final = float("inf")


class Exit(IntEnum):
    """Exit codes of the process."""

    LEFT = 0
    FAILED = 70
    BROKER_REFUSED = 75
    CONFIG_REFUSED = 78


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave, and say why in the log. A second one can only shorten the time.

    Attributes:
        grace_s: how long running tasks may go on; None is as the settings say.
    """

    reason: str
    code: Exit = Exit.LEFT
    grace_s: float | None = None


Event = Delivery | Link | Report | Confirmed | Unconfirmed | Stop
Inbox = queue.SimpleQueue[Event]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the loop needs to know.

    Attributes:
        control_queue: where the hub's orders come; empty when it gave us none.
        grace_s: how long running tasks may go on when it is time to leave.
    """

    task_queue: str
    terms: Terms
    idle: Idle
    control_queue: str = ""
    heartbeat_period_s: float = 30.0
    grace_s: float = 7.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop works with. The broker's and the engine's callbacks feed the inbox."""

    inbox: Inbox
    broker: Broker
    engine: Engine
    ledger: Ledger
    results: Results
    control: Control
    heartbeat: Heartbeat
    claims: Claims = field(default_factory=lambda: Claims(None))


class Loop:
    """One user endpoint, from the first task to the last result."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts
        self._work = Work(
            settings.terms,
            broker=parts.broker,
            engine=parts.engine,
            ledger=parts.ledger,
            results=parts.results,
            claims=parts.claims,
        )
        self._idle = settings.idle
        self._moves_seen = 0
        self._stop: Stop | None = None
        self._leave_at = _NEVER
        self._beat_at = _NEVER
        self._count_at: float | None = None
        self._up_since: float | None = None
        self._consuming = False

    def run(self) -> Exit:
        """Serve until it is time to leave; return with what code.

        The broker must be opening, the engine started, the ledger open.

        Raises:
            LedgerError: nothing is safe any more. Stop the engine and end the process.
        """
        self._work.recover()
        while not self._done():
            self._turn(self._events())
        return self._finish()

    def _events(self) -> list[Event]:
        due_at = self._work.started.due_at() if self._may_tell() else None
        waits_until = self._parts.control.waits_until
        deadline = min(
            self._beat_at,
            self._leave_at,
            self._parts.claims.due_at,
            _NEVER if due_at is None else due_at,
            _NEVER if waits_until is None else waits_until,
        )
        timeout_s = None if deadline == _NEVER else max(0.0, deadline - time.monotonic())
        inbox = self._parts.inbox
        events: list[Event] = []
        try:
            events.append(inbox.get(timeout=timeout_s))
            if self._work.is_ahead:
                time.sleep(_GATHER_S)
            while len(events) < _MOST_EVENTS:
                events.append(inbox.get_nowait())
        except queue.Empty:
            pass
        return events

    def _turn(self, events: list[Event]) -> None:
        turn = Turn()
        deliveries: list[Delivery] = []
        control = self._parts.control
        for event in events:
            if not isinstance(event, Delivery):
                self._on_event(event, turn)
            elif control.is_order(event):
                self._work.cancel(control.read(event), turn)
            else:
                deliveries.append(event)
        self._work.take(deliveries, turn)
        self._work.held = control.waits(now_s=time.monotonic())
        self._work.act(turn)
        control.done()
        if time.monotonic() >= self._beat_at:
            self._beat()
        elif self._may_tell():
            self._tell_started()

    def _on_event(self, event: Link | Report | Confirmed | Unconfirmed | Stop, turn: Turn) -> None:
        match event:
            case Finished():
                self._work.finished(event, turn)
            case Lost():
                self._work.lost(event, turn)
            case Returned():
                self._work.returned(event, turn)
            case Confirmed() | Unconfirmed():
                if self._parts.results.note(event):
                    turn.confirmed.append(event.task_id)
            case Link():
                self._on_link(event)
            case Stop():
                self._on_stop(event)
            case Broken():
                self._work.fail_waiting(event.reason, turn)
                # The status says so at once.
                self._beat_at = min(self._beat_at, time.monotonic())
            case CapacityChanged():
                pass  # act() looks at the capacity in every turn
            case _:
                assert_never(event)

    def _on_link(self, link: Link) -> None:
        if link is Link.UP:
            self._up_since = time.monotonic()
            self._parts.results.link_up()
            if not self._consuming and self._stop is None:
                self._consuming = True
                put = self._parts.inbox.put
                if self._settings.control_queue:
                    self._parts.broker.consume(self._settings.control_queue, put, exclusive=True)
                self._parts.broker.consume(self._settings.task_queue, put, exclusive=True)
            self._parts.control.ask(now_s=self._up_since)
            self._beat_at = time.monotonic()
            return
        self._up_since = None
        self._parts.results.link_down()
        if link is Link.REFUSED:
            self._on_stop(Stop("the broker refuses our credential", Exit.BROKER_REFUSED))

    def _on_stop(self, stop: Stop) -> None:
        grace_s = self._settings.grace_s if stop.grace_s is None else stop.grace_s
        self._leave_at = min(self._leave_at, time.monotonic() + grace_s)
        if self._stop is not None:
            return
        log.info("leaving", extra={"event": "endpoint.leaving", "reason": stop.reason})
        self._stop = stop
        self._parts.broker.cancel(self._settings.task_queue)
        self._work.close()

    def _beat(self) -> None:
        now_s = time.monotonic()
        work, parts = self._work, self._parts
        self._beat_at = now_s + self._settings.heartbeat_period_s
        # The beat of a link that came up says hello; only a whole period without a task is idle.
        if self._count_at is not None and now_s >= self._count_at:
            self._idle = self._idle.beat(moved=work.moves != self._moves_seen)
            self._moves_seen = work.moves
        if self._count_at is None or now_s >= self._count_at:
            self._count_at = self._beat_at
        if self._up_since is not None:
            parts.results.again()
            load = Load(waiting=work.waiting, running=work.running, taken=work.taken)
            report = parts.heartbeat.report(
                parts.engine.status(), load, work.started.all(), roll=parts.control.roll
            )
            parts.broker.publish(report)
            if now_s - self._up_since > _KEEP_CONFIRMED_S:
                parts.ledger.prune(confirmed_before=time.time() - _KEEP_CONFIRMED_S)
        leave = self._idle.verdict(tasks=work.waiting + work.running + len(parts.results))
        if leave is not None:
            self._on_stop(Stop(leave.value))

    def _may_tell(self) -> bool:
        # A hub that gave us no control queue takes every report for a heartbeat.
        return self._up_since is not None and bool(self._settings.control_queue)

    def _tell_started(self) -> None:
        started = self._work.started
        due_at, now_s = started.due_at(), time.monotonic()
        if due_at is not None and due_at <= now_s:
            told = started.take(now_s=now_s, most=MOST_TRANSITIONS)
            self._parts.broker.publish(self._parts.heartbeat.running(told))

    def _done(self) -> bool:
        if self._stop is None:
            return False
        return not self._work.running or time.monotonic() >= self._leave_at

    def _finish(self) -> Exit:
        parts = self._parts
        parts.engine.stop()
        self._work.abandon()
        if self._up_since is not None:
            self._leave_at = time.monotonic() + _PUBLISH_S
            while len(parts.results) and time.monotonic() < self._leave_at:
                self._turn(self._events())
            parts.broker.publish(parts.heartbeat.last())
        parts.claims.flush()
        return Exit.LEFT if self._stop is None else self._stop.code
