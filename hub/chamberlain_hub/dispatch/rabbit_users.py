"""Broker users by RabbitMQ's management API, over kept-alive connections.

Passwords are sent as salted SHA-256 hashes in RabbitMQ's own format, so that the clear text is
in nobody's HTTP log. The topic permissions come before the permissions: a user is never for a
moment allowed to publish under somebody else's key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import urllib3

from chamberlain_hub.dispatch.broker_users import BrokerAdminUnreachableError
from chamberlain_wire.broker.port import BrokerError
from chamberlain_wire.logs import Secret
from chamberlain_wire.topology import NOTHING, Grant

_TIMEOUT: Final = urllib3.Timeout(connect=2.0, read=10.0)
_NOT_FOUND: Final = 404


class RabbitUsers:
    """Keeps the promises of `broker_users.BrokerUsers`.

    Args:
        url: `http[s]://user:password@host:port` of the management API; the user must be an
            administrator.
        vhost: the virtual host that all permissions are for.
    """

    def __init__(self, url: Secret[str], *, vhost: str) -> None:
        parts = urlsplit(url.reveal())
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(login.encode()).decode(),
            "Content-Type": "application/json",
        }
        self._me = quote(unquote(parts.username or ""), safe="")
        self._vhost = quote(vhost, safe="")
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=4, timeout=_TIMEOUT, retries=False)

    def prepare(self) -> None:
        """See `BrokerUsers.prepare`."""
        if self._ask("GET", f"/api/vhosts/{self._vhost}", missing_ok=True) is None:
            self._ask("PUT", f"/api/vhosts/{self._vhost}", {})
            self._ask(
                "PUT",
                f"/api/permissions/{self._vhost}/{self._me}",
                {"configure": ".*", "write": ".*", "read": ".*"},
            )

    def grant(self, user: str, password: Secret[str], grant: Grant) -> None:
        """See `BrokerUsers.grant`."""
        name = quote(user, safe="")
        self._ask("PUT", f"/api/users/{name}", {"password_hash": _hash(password), "tags": ""})
        for exchange, keys in grant.keys:
            self._ask(
                "PUT",
                f"/api/topic-permissions/{self._vhost}/{name}",
                {"exchange": exchange, "write": keys, "read": NOTHING},
            )
        self._ask(
            "PUT",
            f"/api/permissions/{self._vhost}/{name}",
            {"configure": NOTHING, "write": grant.write, "read": grant.read},
        )

    def revoke(self, user: str) -> None:
        """See `BrokerUsers.revoke`."""
        self._ask("DELETE", f"/api/users/{quote(user, safe='')}", missing_ok=True)

    def connected(self) -> frozenset[str]:
        """See `BrokerUsers.connected`."""
        answer = self._ask("GET", "/api/connections?columns=user&disable_stats=true")
        if not isinstance(answer, list):
            raise BrokerError("the broker's list of connections has a wrong shape")
        return frozenset(str(entry["user"]) for entry in answer if "user" in entry)

    def close(self) -> None:
        """See `BrokerUsers.close`."""
        self._pool.clear()

    def _ask(self, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> Any:
        """Return the parsed answer; None when it has no body or, if that is ok, is a 404."""
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._request(method, path, data)
        except urllib3.exceptions.HTTPError as error:
            raise BrokerAdminUnreachableError(f"{method} {path}: {error!r}") from error
        if answer.status == _NOT_FOUND and missing_ok:
            return None
        if answer.status >= 500:
            raise BrokerAdminUnreachableError(f"{method} {path}: {answer.status}")
        if answer.status >= 400:
            raise BrokerError(f"{method} {path}: {answer.status} {answer.data[:200]!r}")
        return json.loads(answer.data) if answer.data else None

    def _request(self, method: str, path: str, data: bytes | None) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(method, self._base + path, body=data, headers=self._headers)
        except urllib3.exceptions.ProtocolError:
            # A kept-alive connection that the broker had closed: once more, on a new one. All
            # our calls may be repeated.
            return self._pool.request(method, self._base + path, body=data, headers=self._headers)


def _hash(password: Secret[str]) -> str:
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.reveal().encode()).digest()
    return base64.b64encode(salt + digest).decode()
