"""What we ask of the broker's administration: users that may do one thing each.

The port, and the fake that ships. The real one is `rabbit_users.py`; both are held to
`tests/contract/test_broker_users.py`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from chamberlain_wire.broker.port import BrokerError
from chamberlain_wire.logs import Secret
from chamberlain_wire.topology import Grant


class BrokerAdminUnreachableError(BrokerError):
    """The broker's administration did not answer. Nothing is known of what it did; the same
    call may be repeated later."""

    public = "The message broker cannot be reached at the moment. Try again."


class BrokerUsers(Protocol):
    """Makes and ends broker users. Thread-safe; every call blocks for some milliseconds and
    raises `BrokerAdminUnreachableError`."""

    def prepare(self) -> None:
        """Make the virtual host, if it is not there, and let the hub itself in."""

    def grant(self, user: str, password: Secret[str], grant: Grant) -> None:
        """Make `user`, allowed to do what `grant` says and nothing else. A repeat replaces."""

    def revoke(self, user: str) -> None:
        """End `user` and close its connections. No effect when there is none."""

    def connected(self) -> frozenset[str]:
        """Return the users that have a connection at this moment."""

    def close(self) -> None:
        """Give back what is held. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class MemoryUser:
    """What the fake remembers of one user."""

    password: str
    grant: Grant


class MemoryUsers:
    """Broker users in memory, for tests and single-process use.

    Attributes:
        users: by name.
        online: names that `connected` answers; tests fill it.
        up: False makes every call raise.
    """

    def __init__(self) -> None:
        self.users: dict[str, MemoryUser] = {}
        self.online: set[str] = set()
        self.up = True
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """See `BrokerUsers.prepare`."""
        self._check()

    def grant(self, user: str, password: Secret[str], grant: Grant) -> None:
        """See `BrokerUsers.grant`."""
        self._check()
        with self._lock:
            self.users[user] = MemoryUser(password.reveal(), grant)

    def revoke(self, user: str) -> None:
        """See `BrokerUsers.revoke`."""
        self._check()
        with self._lock:
            self.users.pop(user, None)
            self.online.discard(user)

    def connected(self) -> frozenset[str]:
        """See `BrokerUsers.connected`."""
        self._check()
        with self._lock:
            return frozenset(self.online)

    def close(self) -> None:
        """See `BrokerUsers.close`."""

    def _check(self) -> None:
        if not self.up:
            raise BrokerAdminUnreachableError("the memory broker's administration is down")
