"""A hub of five routes, which remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.cli.conftest import ENDPOINT, OWNER, TOKEN

NEW_TOKEN = "chp_" + "n3w" * 14


class SmallHub(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.good = {TOKEN, NEW_TOKEN}
        self.endpoints = {ENDPOINT}
        self.asked: list[tuple[str, str]] = []
        self.date: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: SmallHub

    def do_GET(self) -> None:
        self._answer("GET")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def do_POST(self) -> None:
        self._answer("POST")

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.date or super().date_time_string(timestamp)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, method: str) -> None:
        hub = self.server
        hub.asked.append((method, self.path))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.path == "/v3/assertion_keys":
            self._send(200, {"keys": []})
        elif token not in hub.good:
            self._send(401, {"code": "NOT_AUTHENTICATED"})
        elif self.path == "/v2/oauth2/userinfo":
            who = {"sub": OWNER, "preferred_username": "admin@example.edu"}
            self._send(200, who | {"identity_set": [{"sub": OWNER, "username": "admin@x.example"}]})
        elif self.path in {f"/v3/endpoints/{one}/lock" for one in hub.endpoints}:
            self._send(200, {"lock_expiration_timestamp": "2026-11-22T12:00:30+00:00"})
        elif self.path.rpartition("/")[2] in hub.endpoints:
            hub.endpoints.discard(self.path.rpartition("/")[2])
            self._send(200, {"result": 302})
        else:
            self._send(404, {"code": "ENDPOINT_NOT_FOUND"})

    def _send(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def small_hub() -> Iterator[SmallHub]:
    """Run one as long as the block lasts."""
    with SmallHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
