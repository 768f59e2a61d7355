"""Heartbeats and events: what managers and user endpoints say of themselves.

Only notes and tells: whatever takes longer (a new start, revoking, failing tasks) is handed to
the sweep's thread, so that a slow broker does not make live endpoints look dead.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from chamberlain_hub.audit.entry import Action, Entry, Who
from chamberlain_hub.dispatch.batches import Batches
from chamberlain_hub.dispatch.cancellations import Cancellations
from chamberlain_hub.dispatch.commands import Commands, Verdict
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint import Endpoint, UserEndpoint
from chamberlain_hub.domain.endpoint_life import UserEndpointEvent, is_online
from chamberlain_hub.domain.errors import EndpointNotFoundError
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.errors import ErrorCode, InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import EndpointId, parse_endpoint_id, parse_task_id
from chamberlain_wire.limits import MAX_STATUS_BYTES
from chamberlain_wire.messages import EndpointEvent, StatusReport, TaskTransition
from chamberlain_wire.states import TaskState, UserEndpointState

log = logging.getLogger(__name__)

PREFETCH: Final = 200
_DEFAULT_PERIOD_S: Final = 30.0
_MAX_PERIOD_S: Final = 3600.0
_MAX_TEXT_CHARS: Final = 8000
_MAX_ACCOUNT_CHARS: Final = 256
_MAX_ROLL_CHARS: Final = 64
_ENDS: Final = (UserEndpointState.GONE, UserEndpointState.REFUSED, UserEndpointState.FAILED)
_STATES: Final = frozenset(state.value for state in TaskState)
_EVENTS: Final = {
    "admitted": UserEndpointEvent.ADMITTED,
    "refused": UserEndpointEvent.REFUSED,
    "started": UserEndpointEvent.STARTED,
    "failed": UserEndpointEvent.FAILED,
    "ended": UserEndpointEvent.ENDED,
}


class Aftercare(Protocol):
    """Who does what takes longer (the sweep). Never blocks."""

    def endpoint_online(self, endpoint: EndpointId) -> None:
        """A manager came back: starts that waited for it may be asked."""

    def start_ended(self, user_endpoint: EndpointId, command: str) -> None:
        """A start came to nothing: revoke what it was given, look after open tasks."""

    def user_endpoint_ended(self, user_endpoint: EndpointId, generation: int) -> None:
        """It is gone: revoke all up to `generation`, look after open tasks."""


class Heartbeats:
    """Consumes the queue `heartbeats`. `take` is the broker's callback."""

    def __init__(
        self,
        ports: Ports,
        commands: Commands,
        cancellations: Cancellations,
        aftercare: Aftercare,
    ) -> None:
        self._store = ports.store
        self._broker = ports.broker
        self._clock = ports.clock
        self._audit = ports.audit
        self._commands = commands
        self._cancellations = cancellations
        self._aftercare = aftercare
        self._batches: Batches[Delivery] = Batches("heartbeats", self._handle, most=1)

    def start(self) -> None:
        """Start the thread that notes."""
        self._batches.start()

    def stop(self) -> None:
        """Note what has been taken, then end."""
        self._batches.stop()

    def take(self, delivery: Delivery) -> None:
        """Take one delivery; never blocks."""
        self._batches.put(delivery)

    def _handle(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            try:
                sender = topology.sender_of(delivery.routing_key)
                report = codec.decode(delivery.body, StatusReport, max_bytes=MAX_STATUS_BYTES)
                self._note(sender, report)
            except (InvalidMessageError, InvalidIdError, EndpointNotFoundError) as error:
                _log_dropped(delivery.routing_key[:80], str(error))
            self._broker.ack(delivery)

    def _note(self, sender: EndpointId, report: StatusReport) -> None:
        endpoint = self._store.endpoint(sender)
        if endpoint is not None:
            self._note_manager(endpoint, report)
        else:
            self._note_user_endpoint(sender, report)

    def _note_manager(self, endpoint: Endpoint, report: StatusReport) -> None:
        now = self._clock()
        # A report of events alone is no heartbeat, and must not wipe out the last one.
        if report.seen:
            was_online = is_online(endpoint, now)
            period_s = _period_s(report)
            self._store.note_endpoint_heartbeat(endpoint.id, now, period_s, report.seen)
            if period_s > 0 and not was_online:
                log.info(
                    "endpoint online", extra={"event": "endpoint.online", "endpoint": endpoint.id}
                )
                self._aftercare.endpoint_online(endpoint.id)
        for event in report.events:
            user_endpoint = self._store.user_endpoint(parse_endpoint_id(event.user_endpoint))
            if user_endpoint is not None and user_endpoint.endpoint == endpoint.id:
                self._note_event(user_endpoint, event)
            else:
                # A manager may speak of its own user endpoints only.
                _log_dropped(endpoint.id, f"event of {event.user_endpoint[:80]!r}, not its own")

    def _note_event(self, before: UserEndpoint, event: EndpointEvent) -> None:
        kind = _EVENTS[event.kind]
        if event.kind == "ended" and not event.clean:
            kind = UserEndpointEvent.CRASHED
        after = self._store.move_user_endpoint(
            before.id,
            kind,
            command=event.command or None,
            code=_storable(event.code),
            message=_storable(event.message),
            at=self._clock(),
        )
        log.info(
            "manager says %s",
            event.kind,
            extra={
                "event": f"user_endpoint.{event.kind}",
                "endpoint": before.endpoint,
                "user_endpoint": before.id,
                "command": event.command,
                "state_from": before.state,
                "state_to": after.state,
                "code": event.code,
                "reason": event.message,
            },
        )
        self._audit.put(_told(before, event))
        self._act_on(before, after, event)

    def _act_on(self, before: UserEndpoint, after: UserEndpoint, event: EndpointEvent) -> None:
        if event.kind in ("admitted", "started"):
            self._commands.settle(before.id, Verdict(admitted=True), event.command)
            return
        if event.kind in ("refused", "failed"):
            code = event.code or ErrorCode.START_FAILED
            message = event.message or "The user endpoint could not be started."
            self._commands.settle(before.id, Verdict(False, code, message), event.command)
            self._aftercare.start_ended(before.id, event.command)
        if after.state is UserEndpointState.GONE and before.state is not after.state:
            self._commands.end(before.id)
            if event.command in ("", before.command):
                self._aftercare.user_endpoint_ended(before.id, after.generation)
                return
        if event.kind == "ended":
            # Of an earlier start than the last: only what it was given ends, because the last
            # may have taken its place as well as joined it.
            self._aftercare.start_ended(before.id, event.command)

    def _note_user_endpoint(self, sender: EndpointId, report: StatusReport) -> None:
        before = self._store.user_endpoint(sender)
        if before is None:
            raise EndpointNotFoundError(f"nobody knows {sender}")
        error = report.seen.get("error")
        if isinstance(error, str):
            self._note_start_error(before, error)
            return
        if report.task_statuses:
            self._store.note_states(sender, _last_states(report.task_statuses))
        if not report.seen:
            # Tasks alone, between two heartbeats.
            return
        period_s = _period_s(report)
        self._store.note_heartbeat(sender, self._clock(), period_s, report.seen)
        if period_s > 0 and before.state is not UserEndpointState.SERVING:
            log.info(
                "user endpoint serves",
                extra={
                    "event": "user_endpoint.serving",
                    "endpoint": before.endpoint,
                    "user_endpoint": sender,
                    "state_from": before.state,
                },
            )
            self._commands.settle(sender, Verdict(admitted=True), None)
            self._commands.end(sender)
        if report.roll:
            self._cancellations.answer_roll(sender, report.roll[:_MAX_ROLL_CHARS])

    def _note_start_error(self, before: UserEndpoint, error: str) -> None:
        """The public agent tells a failed start with the user endpoint's own credential."""
        code = ErrorCode.START_FAILED
        after = self._store.move_user_endpoint(
            before.id,
            UserEndpointEvent.FAILED,
            code=code,
            message=_storable(error),
            at=self._clock(),
        )
        self._commands.settle(before.id, Verdict(False, code, error), None)
        if after.state in _ENDS:
            self._aftercare.user_endpoint_ended(before.id, after.generation)


def _told(user_endpoint: UserEndpoint, event: EndpointEvent) -> Entry:
    return Entry(
        action=Action.USER_ENDPOINT,
        outcome=event.kind,
        who=Who(identity=user_endpoint.identity),
        endpoint=user_endpoint.endpoint,
        user_endpoint=user_endpoint.id,
        account=_storable(event.account)[:_MAX_ACCOUNT_CHARS],
        about=event.command,
        code=_storable(event.code),
        reason=_storable(event.message),
    )


def _log_dropped(endpoint: str, reason: str) -> None:
    log.warning(
        "heartbeat dropped",
        extra={"event": "heartbeat.dropped", "endpoint": endpoint, "reason": reason},
    )


def _storable(text: str) -> str:
    """Return `text` as every database takes it, and not longer than anybody reads."""
    return text[:_MAX_TEXT_CHARS].encode("utf-8", "replace").decode().replace("\0", "")


def _is_id(text: str) -> bool:
    try:
        parse_task_id(text)
    except InvalidIdError:
        return False
    return True


def _period_s(report: StatusReport) -> float:
    if report.seen.get("active") is False:
        # The public agent's user endpoints keep their period when they say goodbye.
        return 0.0
    period = report.seen.get("heartbeat_period")
    if isinstance(period, bool) or not isinstance(period, (int, float)):
        return _DEFAULT_PERIOD_S
    return min(max(float(period), 0.0), _MAX_PERIOD_S)


def _last_states(seen: dict[str, list[TaskTransition]]) -> dict[str, TaskState]:
    return {
        task_id: TaskState(transitions[-1].state)
        for task_id, transitions in seen.items()
        if transitions and transitions[-1].state in _STATES and _is_id(task_id)
    }
