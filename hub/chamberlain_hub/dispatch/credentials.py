"""One broker user for each principal: a manager, a start of a user endpoint, an SDK session.

The store learns of a user before the broker does and forgets it after, so none is ever left at
the broker that nobody would revoke.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from chamberlain_hub.dispatch.broker_users import BrokerUsers
from chamberlain_hub.domain.task import BrokerCredential
from chamberlain_hub.store.store import Store
from chamberlain_wire import topology
from chamberlain_wire.broker.port import BrokerError
from chamberlain_wire.ids import EndpointId, IdentityId
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import QueueCredentials, QueueInfo

log = logging.getLogger(__name__)

MANAGER: Final = "mgr"
USER_ENDPOINT: Final = "uep"
SESSION: Final = "sdk"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where agents and SDKs reach the broker.

    Attributes:
        vhost: as RabbitMQ names it, not quoted.
    """

    host: str
    port: int
    vhost: str
    tls: bool

    def url(self, user: str, password: Secret[str]) -> str:
        """Return the whole address for one principal. A secret."""
        scheme = "amqps" if self.tls else "amqp"
        login = f"{quote(user, safe='')}:{quote(password.reveal(), safe='')}"
        return f"{scheme}://{login}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"


@dataclass(frozen=True, slots=True)
class Session:
    """What an SDK session gets. `connection_url` is a secret."""

    session_id: str
    queue_prefix: str
    connection_url: str


class Credentials:
    """Issues and revokes broker users. Thread-safe; every call blocks.

    Raises from all methods: `BrokerError` when the broker's administration does not do it (the
    sweep revokes later what stands in the store), `StoreUnavailableError`.
    """

    def __init__(
        self,
        store: Store,
        users: BrokerUsers,
        address: BrokerAddress,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._users = users
        self._address = address
        self._clock = clock

    def for_user_endpoint(
        self, user_endpoint: EndpointId, *, command: str, generation: int, control: bool = False
    ) -> QueueCredentials:
        """Issue what one start of a user endpoint needs.

        Args:
            control: it reads a control queue.
        """
        user = f"uep.{user_endpoint}.{generation}"
        url = self._make(
            BrokerCredential(
                user, USER_ENDPOINT, user_endpoint, command, generation, self._clock()
            ),
            topology.user_endpoint_grant(user_endpoint),
        )
        return QueueCredentials(
            endpoint_id=user_endpoint,
            task_queue_info=QueueInfo(
                connection_url=url,
                exchange=topology.TASKS,
                queue=topology.task_queue(user_endpoint),
            ),
            result_queue_info=_publishing(
                url, topology.RESULTS, topology.RESULTS_QUEUE, topology.results_key(user_endpoint)
            ),
            heartbeat_queue_info=_heartbeats(url, user_endpoint),
            control_queue_info=QueueInfo(
                connection_url=url, exchange="", queue=topology.control_queue(user_endpoint)
            )
            if control
            else None,
        )

    def for_endpoint(self, endpoint: EndpointId, *, multi_user: bool) -> dict[str, QueueInfo]:
        """Issue what a manager needs, and revoke what earlier registrations were given: their
        connections are closed.

        Returns:
            The queues under the names of the registration answer. All four are named, because
            the public agents look for them; which of them may be used is the broker's to hold.
        """
        earlier = self._store.credentials(MANAGER, endpoint)
        generation = 1 + max((entry.generation for entry in earlier), default=0)
        user = f"mgr.{endpoint}.{generation}"
        grant = topology.manager_grant if multi_user else topology.single_endpoint_grant
        url = self._make(
            BrokerCredential(user, MANAGER, endpoint, None, generation, self._clock()),
            grant(endpoint),
        )
        self._revoke_all(earlier)
        return {
            "task_queue_info": QueueInfo(
                connection_url=url, exchange=topology.TASKS, queue=topology.task_queue(endpoint)
            ),
            "command_queue_info": QueueInfo(
                connection_url=url,
                exchange=topology.COMMANDS,
                queue=topology.command_queue(endpoint),
            ),
            "result_queue_info": _publishing(
                url, topology.RESULTS, topology.RESULTS_QUEUE, topology.results_key(endpoint)
            ),
            "heartbeat_queue_info": _heartbeats(url, endpoint),
        }

    def for_session(self, identity: IdentityId) -> Session:
        """Issue what one SDK session needs to read its results."""
        session_id = secrets.token_hex(16)
        user = _session_user(identity, session_id)
        url = self._make(
            BrokerCredential(user, SESSION, identity, None, 0, self._clock()),
            topology.session_grant(identity),
        )
        return Session(session_id, topology.result_prefix(identity), url)

    def end_session(self, identity: IdentityId, session_id: str) -> bool:
        """Revoke a session; False when `identity` has no such session."""
        user = _session_user(identity, session_id)
        if all(entry.user != user for entry in self._store.credentials(SESSION, identity)):
            return False
        self.revoke(user)
        return True

    def end_user_endpoint(self, user_endpoint: EndpointId, *, up_to: int) -> None:
        """Revoke what the starts of a user endpoint up to generation `up_to` were given."""
        self._revoke_all(
            entry
            for entry in self._store.credentials(USER_ENDPOINT, user_endpoint)
            if entry.generation <= up_to
        )

    def end_command(self, user_endpoint: EndpointId, command: str) -> None:
        """Revoke what one start command of a user endpoint carried."""
        self._revoke_all(
            entry
            for entry in self._store.credentials(USER_ENDPOINT, user_endpoint)
            if entry.command == command
        )

    def end_endpoint(self, endpoint: EndpointId) -> None:
        """Revoke what a manager was given; its connections are closed."""
        self._revoke_all(self._store.credentials(MANAGER, endpoint))

    def revoke(self, user: str) -> None:
        """Revoke one broker user."""
        self._users.revoke(user)
        self._store.revoke_credential(user)
        log.info("broker user revoked", extra={"event": "credential.revoked", "user": user})

    def _make(self, credential: BrokerCredential, grant: topology.Grant) -> str:
        password = Secret(secrets.token_urlsafe(32))
        self._store.add_credential(credential)
        self._users.grant(credential.user, password, grant)
        return self._address.url(credential.user, password)

    def _revoke_all(self, entries: Iterable[BrokerCredential]) -> None:
        for entry in entries:
            try:
                self.revoke(entry.user)
            except BrokerError as error:
                # It stands in the store, so the sweep tries again.
                log.warning(
                    "broker user not revoked yet",
                    extra={
                        "event": "credential.revoke_failed",
                        "user": entry.user,
                        "reason": str(error),
                    },
                )


def _session_user(identity: IdentityId, session_id: str) -> str:
    return f"sdk.{identity}.{session_id}"


def _publishing(url: str, exchange: str, queue: str, key: str) -> QueueInfo:
    return QueueInfo(
        connection_url=url,
        exchange=exchange,
        queue=queue,
        queue_publish_kwargs={
            "exchange": exchange,
            "routing_key": key,
            "mandatory": True,
            "properties": {"delivery_mode": 2},
        },
    )


def _heartbeats(url: str, endpoint: EndpointId) -> QueueInfo:
    return _publishing(
        url, topology.HEARTBEATS, topology.HEARTBEATS_QUEUE, topology.heartbeats_key(endpoint)
    )
