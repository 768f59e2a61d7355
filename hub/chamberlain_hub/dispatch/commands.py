"""Asks managers to start user endpoints, once each at a time, and waits for their verdicts.

A start is *in flight* from the moment it is asked until the user endpoint serves, is refused,
fails or ends, or until nobody can answer any more. Whoever asks meanwhile shares it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chamberlain_hub.dispatch.credentials import Credentials
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import SILENT_START_S, gives_verdicts, is_starting
from chamberlain_hub.domain.errors import IdentityUnknownError, StoreUnavailableError
from chamberlain_hub.domain.identity import Identity, Principal
from chamberlain_hub.identity import assertions
from chamberlain_wire import codec, topology
from chamberlain_wire.broker.port import BrokerError, Outgoing, UnroutableError
from chamberlain_wire.ids import EndpointId
from chamberlain_wire.limits import COMMAND_MAX_AGE_S
from chamberlain_wire.messages import QueueCredentials, StartCommand, StartKwargs
from chamberlain_wire.states import UserEndpointState

log = logging.getLogger(__name__)

_ELSEWHERE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the manager said to a start.

    Attributes:
        admitted: False: refused, for the reason in `code` and `message`.
        code: word of `ErrorCode`; empty when admitted.
        message: sentence for the caller; empty when admitted.
    """

    admitted: bool
    code: str = ""
    message: str = ""


@dataclass(slots=True)
class _Flight:
    asked_at: float
    command: str = ""
    verdict: Future[Verdict | None] = field(default_factory=Future)


class Commands:
    """Sends `cmd_start_endpoint`. Thread-safe; `ensure_started` and `ask` block some
    milliseconds, `settle` and `end` do not.

    Args:
        key: signs assertions.
        start_timeout_s: how long a start may take from asking to the first heartbeat.
        on_trouble: called, in any thread, when a command could not be sent.
    """

    def __init__(
        self,
        ports: Ports,
        credentials: Credentials,
        key: Ed25519PrivateKey,
        *,
        start_timeout_s: float,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = ports.store
        self._broker = ports.broker
        self._queues = ports.queues
        self._clock = ports.clock
        self._credentials = credentials
        self._key = key
        self._start_timeout_s = start_timeout_s
        self._on_trouble = on_trouble
        self._lock = threading.RLock()
        self._flights: dict[EndpointId, _Flight] = {}

    def ensure_started(
        self, user_endpoint: UserEndpoint, principal: Principal, source: str
    ) -> Future[Verdict | None]:
        """Ask for a start, unless one is in flight, and return its verdict to come.

        Args:
            user_endpoint: one that is not live.
            source: network address that the request came from, for the audit log.

        Returns:
            A future that may never end: wait with a limit, and do not cancel it, others wait
            for it too. None: the command could not be sent; the sweep asks again.
        """
        flight, ours = self._board(user_endpoint)
        if ours:
            self._ask(flight, user_endpoint, principal, source)
        return flight.verdict

    def ask_again(self, user_endpoint: UserEndpoint) -> None:
        """Ask for a start on behalf of tasks that wait, unless one is in flight.

        Raises:
            IdentityUnknownError: the identity that they belong to was removed.
        """
        linked = self._store.linked(user_endpoint.identity)
        if not linked:
            raise IdentityUnknownError(f"identity {user_endpoint.identity} was removed")
        principal = Principal(identity=linked[0], linked=linked, token_id="")
        self.ensure_started(user_endpoint, principal, "hub")

    def in_flight(self, user_endpoint: UserEndpoint) -> bool:
        """Tell whether a start is on its way, here or in another hub."""
        now = self._clock()
        with self._lock:
            flight = self._flights.get(user_endpoint.id)
        if flight is not None and self._fresh(user_endpoint, flight.asked_at, now):
            return True
        return self._in_store(user_endpoint, now)

    def settle(self, user_endpoint: EndpointId, verdict: Verdict, command: str | None) -> None:
        """Tell those who wait what the manager said.

        Args:
            command: the start that it is about; None: the one in flight, whichever it is.
        """
        with self._lock:
            flight = self._flights.get(user_endpoint)
            if flight is None or (command and command != flight.command):
                return
            if not verdict.admitted:
                del self._flights[user_endpoint]
            future = flight.verdict
        if not future.done():
            future.set_result(verdict)

    def end(self, user_endpoint: EndpointId) -> None:
        """The start in flight is over: it serves, or it is gone."""
        with self._lock:
            self._flights.pop(user_endpoint, None)

    def _board(self, user_endpoint: UserEndpoint) -> tuple[_Flight, bool]:
        """Return the flight to wait for, and whether it is ours to start."""
        now = self._clock()
        with self._lock:
            flight = self._flights.get(user_endpoint.id)
            if flight is not None and self._fresh(user_endpoint, flight.asked_at, now):
                return flight, False
            joined = self._in_store(user_endpoint, now)
            flight = _Flight(asked_at=now, command=user_endpoint.command or "")
            if user_endpoint.state is UserEndpointState.ADMITTED:
                flight.verdict.set_result(Verdict(admitted=True))
            self._flights[user_endpoint.id] = flight = flight if joined else _Flight(now)
            return flight, not joined

    def _fresh(self, user_endpoint: UserEndpoint, asked_at: float, now: float) -> bool:
        if user_endpoint.state is UserEndpointState.ADMITTED:
            return now - asked_at < self._start_timeout_s
        endpoint = self._store.endpoint(user_endpoint.endpoint)
        if endpoint is not None and not gives_verdicts(endpoint):
            return now - asked_at < SILENT_START_S
        # Until it is admitted, the command may still wait for its manager in the queue.
        return now - asked_at < COMMAND_MAX_AGE_S

    def _in_store(self, user_endpoint: UserEndpoint, now: float) -> bool:
        """Tell whether another hub, or we before a restart, asked lately."""
        if user_endpoint.state is UserEndpointState.ADMITTED:
            return is_starting(user_endpoint, now, self._start_timeout_s)
        # Whoever noted it may have died before it was sent, so do not rely on it for long.
        return is_starting(user_endpoint, now, _ELSEWHERE_S)

    def _ask(
        self, flight: _Flight, user_endpoint: UserEndpoint, principal: Principal, source: str
    ) -> None:
        try:
            self._send(flight, user_endpoint, principal, source)
        except (BrokerError, StoreUnavailableError) as error:
            self._fail(flight, user_endpoint, error)
        except BaseException as error:
            self._fail(flight, user_endpoint, error)
            raise

    def _send(
        self, flight: _Flight, user_endpoint: UserEndpoint, principal: Principal, source: str
    ) -> None:
        # First, because it fails when there is no broker, and then nothing was asked.
        self._queues.endpoint(user_endpoint.endpoint)
        self._queues.user_endpoint(user_endpoint.id)
        endpoint = self._store.endpoint(user_endpoint.endpoint)
        control = endpoint is not None and bool(endpoint.last_state.get(topology.FEATURE_CONTROL))
        if control:
            self._queues.control(user_endpoint.id)
        now = self._clock()
        assertion, token = assertions.make(
            self._key, principal, user_endpoint, source=source, now=now
        )
        flight.command = assertion.id
        generation = self._store.note_asked(user_endpoint.id, assertion.id, now)
        granted = self._credentials.for_user_endpoint(
            user_endpoint.id, command=assertion.id, generation=generation, control=control
        )
        command = _start_command(user_endpoint, principal, granted, token)
        sent = self._broker.publish(
            Outgoing(
                topology.COMMANDS,
                topology.command_queue(user_endpoint.endpoint),
                codec.encode_command(command),
                content_type=topology.JSON_TYPE,
                timestamp=int(now),
                expiration_ms=int(COMMAND_MAX_AGE_S * 1000),
            )
        )
        sent.add_done_callback(partial(self._on_sent, flight, user_endpoint))
        log.info(
            "start asked",
            extra={
                "event": "endpoint.asked",
                "endpoint": user_endpoint.endpoint,
                "user_endpoint": user_endpoint.id,
                "user": principal.identity.username,
                "command": assertion.id,
                "attempt": generation,
            },
        )

    def _on_sent(self, flight: _Flight, user_endpoint: UserEndpoint, sent: Future[None]) -> None:
        error = sent.exception()
        if isinstance(error, UnroutableError):
            # The broker forgot the queue; declare it before the next try.
            self._queues.forget(topology.command_queue(user_endpoint.endpoint))
        if error is not None:
            self._fail(flight, user_endpoint, error)

    def _fail(self, flight: _Flight, user_endpoint: UserEndpoint, error: BaseException) -> None:
        with self._lock:
            if self._flights.get(user_endpoint.id) is flight:
                del self._flights[user_endpoint.id]
        log.warning(
            "start could not be asked",
            extra={
                "event": "endpoint.not_asked",
                "user_endpoint": user_endpoint.id,
                "reason": str(error),
            },
        )
        if not flight.verdict.done():
            flight.verdict.set_result(None)
        self._on_trouble()


def _start_command(
    user_endpoint: UserEndpoint, principal: Principal, granted: QueueCredentials, token: bytes
) -> StartCommand:
    return StartCommand(
        command="cmd_start_endpoint",
        kwargs=StartKwargs(
            name=f"uep.{user_endpoint.endpoint}.{user_endpoint.id}",
            user_opts=user_endpoint.options,
            user_runtime=user_endpoint.runtime,
            amqp_creds=granted,
        ),
        globus_effective_identity=principal.identity.id,
        globus_identity_set=[identity_document(entry) for entry in principal.linked],
        globus_username=principal.identity.username,
        assertion=token.decode("ascii"),
    )


def identity_document(identity: Identity) -> dict[str, Any]:
    """Return an identity in the form of the public clients."""
    return {
        "sub": identity.id,
        "id": identity.id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "identity_provider": identity.identity_provider,
        "identity_provider_display_name": identity.identity_provider_display_name,
        "last_authentication": identity.last_authentication,
        "status": identity.status,
    }
