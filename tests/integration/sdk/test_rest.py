"""HTTP to a hub that misbehaves. No broker is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from chamberlain.config import Config
from chamberlain.errors import (
    AuthenticationError,
    ForbiddenError,
    HubError,
    HubUnavailableError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
)
from chamberlain.rest import Rest
from chamberlain_wire.logs import Secret
from devtools.rabbit import free_ports


class Odd:
    """Answers what it is told to, one answer a request; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[tuple[str, str]] = []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                odd.asked.append((self.path, self.headers.get("Authorization", "")))
                status, data, headers = odd.answers.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def say(self, status: int, data: bytes = b"{}", **headers: str) -> None:
        self.answers.append((status, data, headers))

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def odd() -> Iterator[Odd]:
    one = Odd()
    yield one
    one.close()


def rest_of(url: str, patience_s: float = 5.0) -> Rest:
    return Rest(Config(url, Secret("chp_secret")), patience_s=patience_s)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (413, PayloadTooLargeError),
        (422, InvalidRequestError),
        (500, HubError),
    ],
)
def test_each_refusal_has_its_class_and_the_hubs_text(
    odd: Odd, status: int, kind: type[HubError]
) -> None:
    odd.say(status, b'{"code": "WORD", "message": "The hub says why."}')
    with pytest.raises(kind, match=r"The hub says why\.") as caught:
        rest_of(odd.url).get("/v2/version")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.word) == (status, "WORD")
    assert len(odd.asked) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_come_back_later_is_obeyed(odd: Odd, status: int) -> None:
    odd.say(status)
    odd.say(200, b'{"ok": true}')
    assert rest_of(odd.url).get("/x") == {"ok": True}


def test_patience_ends(odd: Odd) -> None:
    odd.say(503)
    with pytest.raises(HubUnavailableError):
        rest_of(odd.url, patience_s=0.0).get("/x")


def test_nobody_there_is_told_with_the_address() -> None:
    (port,) = free_ports(1)
    with pytest.raises(
        HubUnavailableError, match=rf"127\.0\.0\.1:{port} does not answer: .*refused"
    ):
        rest_of(f"http://127.0.0.1:{port}", patience_s=0.0).get("/x")


def test_another_service_at_the_address_is_noticed(odd: Odd) -> None:
    odd.say(200, b"<html>Welcome</html>")
    odd.say(404, b"<html>Not here</html>")
    for _ in range(2):
        with pytest.raises(HubError, match="Is it the hub's address"):
            rest_of(odd.url).get("/x")


def test_a_redirect_does_not_get_the_token(odd: Odd) -> None:
    odd.say(302, b"", Location=f"{odd.url}/elsewhere")
    with pytest.raises(HubError):
        rest_of(odd.url).get("/x")
    assert [path for path, _ in odd.asked] == ["/x"]


def test_a_broken_ca_file_is_told(tmp_path: Path) -> None:
    rest = Rest(Config("https://127.0.0.1:1", Secret("x"), tmp_path / "absent.pem"), patience_s=0.0)
    with pytest.raises(HubUnavailableError):
        rest.get("/x")


def test_the_proxy_of_the_environment_is_used_and_its_exceptions_too(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", odd.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    odd.say(200, b'"through the proxy"')
    assert rest_of("http://hub.example.edu").get("/x") == "through the proxy"
    assert odd.asked[0][0] == "http://hub.example.edu/x"
    odd.say(200, b'"directly"')
    assert rest_of(odd.url).get("/y") == "directly"
    assert odd.asked[1][0] == "/y"


def test_closing_ends_patience(odd: Odd) -> None:
    rest = rest_of("http://127.0.0.1:1", patience_s=60.0)
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            rest.get("/x")
        except HubUnavailableError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    rest.close()
    thread.join(10)
    assert len(failed) == 1
