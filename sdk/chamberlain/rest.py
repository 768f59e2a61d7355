"""HTTP to the hub: the only place that speaks it. urllib3: `docs/adr/0004-sdk-http-client.md`.

Every call that we make may be repeated: reads are reads, a submission carries task ids that we
made, and a function registered twice is two names for one thing. So a hub that restarts, or a
proxy that lost its way, is asked again with growing delays until the caller's patience ends.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from chamberlain.config import Config
from chamberlain.errors import HubError, HubUnavailableError
from chamberlain.runtime import version

log = logging.getLogger(__name__)

_CONNECT_S: Final = 5.0
# Submit waits for the endpoint's verdict, which the hub bounds to a few seconds.
_READ_S: Final = 60.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
_DELAYS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
_ADVICE: Final = {
    401: " Get a new token and set CHAMBERLAIN_TOKEN, or correct the configuration file.",
}


class Rest:
    """Calls to one hub as one caller. Thread-safe.

    Args:
        patience_s: how long a hub that does not answer is asked again.
    """

    def __init__(self, config: Config, *, patience_s: float = 60.0) -> None:
        self.hub_url = config.hub_url
        self._config = config
        self._patience_s = patience_s
        self._closed = threading.Event()
        self._pool = _pool(config)
        self._pid = os.getpid()

    def get(self, path: str, **query: str) -> Any:
        """Return the answer to GET; see `call`."""
        return self.call("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: object, *, patience_s: float | None = None) -> Any:
        """Return the answer to POST of `body` as JSON; see `call`."""
        return self.call("POST", path, msgspec.json.encode(body), patience_s=patience_s)

    def delete(self, path: str) -> Any:
        """Return the answer to DELETE; see `call`."""
        return self.call("DELETE", path)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        patience_s: float | None = None,
    ) -> Any:
        """Return the hub's answer, parsed.

        Args:
            path: from the hub's address, beginning with a slash.
            body: JSON, or None.
            patience_s: instead of the object's own; 0 asks once.

        Raises:
            HubUnavailableError: no answer, or "come back later", until patience ended.
            HubError: the hub answered no; the class says which no.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        deadline = time.monotonic() + patience_s
        for attempt in range(10**9):
            try:
                return self._once(method, path, body)
            except HubUnavailableError as error:
                delay_s = _DELAYS_S[min(attempt, len(_DELAYS_S) - 1)] * random.uniform(0.7, 1.3)  # noqa: S311
                if time.monotonic() + delay_s > deadline:
                    raise
                log.info(
                    "hub does not answer, trying again",
                    extra={"event": "hub.retried", "attempt": attempt, "reason": str(error)},
                )
                if self._closed.wait(delay_s):
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Stop asking again, and close idle connections."""
        self._closed.set()
        self._pool.clear()

    def _once(self, method: str, path: str, body: bytes | None) -> Any:
        if self._pid != os.getpid():
            # After a fork parent and child would read each other's answers.
            self._pool, self._pid = _pool(self._config), os.getpid()
        headers = {
            "Authorization": f"Bearer {self._config.token.reveal()}",
            "Accept": "application/json",
            "User-Agent": f"chamberlain/{version()}",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._pool.request(
                method,
                self.hub_url + path,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
                # A redirect would carry the token to wherever it points.
                redirect=False,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise HubUnavailableError(
                public=f"The hub at {self.hub_url} does not answer: {_reason(error)}"
            ) from error
        if 200 <= answer.status < 300:
            return _parse(answer.data, self.hub_url)
        raise _error(answer.status, answer.data, self.hub_url)


def _error(status: int, data: bytes, hub_url: str) -> HubError:
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    if not isinstance(told, Mapping):
        # Not our hub: a proxy, or another service at this address.
        text = f"{hub_url} answered HTTP {status} without saying why. Is it the hub's address?"
        return HubError.answered(status, "", text)
    text = str(told.get("message") or told.get("reason") or told.get("detail") or f"HTTP {status}")
    return HubError.answered(status, str(told.get("code", "")), text + _ADVICE.get(status, ""))


def _parse(data: bytes, hub_url: str) -> Any:
    if not data:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HubError(
            public=f"{hub_url} answered something that is no JSON. Is it the hub's address?"
        ) from None


def _reason(error: BaseException) -> str:
    # urllib3 wraps the cause, and puts the pool's repr in front of it.
    cause = getattr(error, "reason", None) or error
    return str(cause).rpartition(": ")[2] or type(cause).__name__


def _pool(config: Config) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 2, "maxsize": 16}
    if config.ca_file is not None:
        options["ca_certs"] = str(config.ca_file)
    parts = urlsplit(config.hub_url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, **options)
    return urllib3.PoolManager(**options)
