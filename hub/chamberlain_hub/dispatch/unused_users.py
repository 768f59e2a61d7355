"""Revokes broker users that nobody uses: sessions that went away without a word, starts whose
process is gone."""

from __future__ import annotations

from typing import Final

from chamberlain_hub.dispatch.broker_users import BrokerUsers
from chamberlain_hub.dispatch.credentials import SESSION, USER_ENDPOINT, Credentials
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.domain.endpoint_life import is_live
from chamberlain_hub.domain.task import BrokerCredential

START_UNUSED_S: Final = 3600.0
"""How long a user endpoint may be cut off from the broker and still come back."""


class UnusedUsers:
    """Knows since when each broker user has had no connection. For one thread.

    Args:
        session_idle_s: how long a session may have no connection.
    """

    def __init__(
        self,
        ports: Ports,
        users: BrokerUsers,
        credentials: Credentials,
        *,
        session_idle_s: float,
    ) -> None:
        self._store = ports.store
        self._clock = ports.clock
        self._users = users
        self._credentials = credentials
        self._session_idle_s = session_idle_s
        # Begins anew with each process, so nothing is revoked right after a restart.
        self._unused_since: dict[str, float] = {}

    def revoke(self) -> None:
        """Look once, and revoke what has been unused for too long.

        Raises:
            BrokerAdminUnreachableError: nobody can be asked; look again later.
        """
        connected = self._users.connected()
        now = self._clock()
        sessions = self._store.credentials_all(SESSION)
        starts = self._store.credentials_all(USER_ENDPOINT)
        unused = [entry for entry in (*sessions, *starts) if entry.user not in connected]
        since = self._unused_since
        self._unused_since = {entry.user: since.get(entry.user, now) for entry in unused}
        for entry in unused:
            unused_s = now - self._unused_since[entry.user]
            if unused_s >= self._limit_s(entry) and not self._needed(entry, now):
                self._credentials.revoke(entry.user)

    def _limit_s(self, entry: BrokerCredential) -> float:
        return self._session_idle_s if entry.kind == SESSION else START_UNUSED_S

    def _needed(self, entry: BrokerCredential, now: float) -> bool:
        if entry.kind == SESSION:
            return False
        user_endpoint = self._store.user_endpoint(entry.principal)
        return user_endpoint is not None and is_live(user_endpoint, now)
