"""The manager's REST calls, against a stand-in on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.manager_builders import Signer, endpoint_folder

from chamberlain_endpoint.manager.config import settle as check
from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.hub_client import HubClient, StoppedError, read_token
from chamberlain_endpoint.manager.hub_link import with_port
from chamberlain_wire.ids import EndpointId, new_id

INFO = {"connection_url": "amqp://u:p@h/", "exchange": "x", "queue": "q"}


class Answers:
    """A hub that says what it is told to say, and notes what it is asked."""

    def __init__(self) -> None:
        self.signer = Signer(EndpointId(new_id()))
        self.asked: list[tuple[str, str, str, Any]] = []
        self.statuses: list[int] = []
        self.answer: Any = {
            "endpoint_id": self.signer.endpoint,
            "command_queue_info": INFO,
            "heartbeat_queue_info": INFO,
            "assertion_keys": [self.signer.public_text],
            "something_new": 1,
        }
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = (self.command, self.path, self.headers["Authorization"])
                hub.asked.append((*asked, json.loads(body) if body else None))
                status = hub.statuses.pop(0) if hub.statuses else 200
                answer: Any = hub.answer if status == 200 else {"reason": "the reason"}
                if self.path == "/v3/assertion_keys":
                    answer = {"keys": [hub.signer.public_text]}
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET = do_PUT  # noqa: N815 - the standard library's names

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        return Handler


@pytest.fixture
def hub() -> Iterator[Answers]:
    hub = Answers()
    yield hub
    hub.close()


def client(hub: Answers, folder: Path, *, waits: int = 99, **keys: Any) -> HubClient:
    config = endpoint_folder(folder, hub_url=hub.url, **keys)
    (folder / "state").mkdir(exist_ok=True)
    waited: list[float] = []

    def wait(delay_s: float) -> bool:
        waited.append(delay_s)
        return len(waited) > waits

    return HubClient(check(config), wait=wait)


def test_an_endpoint_with_an_id_is_put(hub: Answers, tmp_path: Path) -> None:
    endpoint = hub.signer.endpoint
    registration = client(hub, tmp_path, endpoint_id=endpoint, display_name="A").register()
    assert registration.endpoint == endpoint
    assert registration.keys == (hub.signer.public,)
    method, path, token, body = hub.asked[0]
    assert (method, path) == ("PUT", f"/v3/endpoints/{endpoint}")
    assert token == "Bearer chp_" + "t" * 43
    assert body["display_name"] == "A"
    assert body["metadata"]["user_config_schema"] is None
    assert "hub_url" in body["metadata"]["endpoint_config"]
    assert "admins" not in body


def test_an_endpoint_without_an_id_is_posted_once(hub: Answers, tmp_path: Path) -> None:
    assert client(hub, tmp_path).register().endpoint == hub.signer.endpoint
    client(hub, tmp_path).register()
    assert [method for method, *_ in hub.asked] == ["POST", "PUT"]


def test_keys_that_the_answer_lacks_are_asked_for(hub: Answers, tmp_path: Path) -> None:
    del hub.answer["assertion_keys"]
    assert client(hub, tmp_path).register().keys == (hub.signer.public,)
    assert [path for _, path, *_ in hub.asked][1] == "/v3/assertion_keys"


def test_a_hub_that_is_away_is_asked_again(hub: Answers, tmp_path: Path) -> None:
    hub.statuses = [503, 429, 500]
    client(hub, tmp_path).register()
    assert len(hub.asked) == 4


def test_waiting_for_the_hub_ends_when_asked_to_stop(hub: Answers, tmp_path: Path) -> None:
    hub.close()
    with pytest.raises(StoppedError):
        client(hub, tmp_path, waits=2).register()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"not json", "makes no sense"),
        ({"endpoint_id": "x"}, "makes no sense"),
        ({"assertion_keys": []}, "no signing key"),
        ({"assertion_keys": ["eHg="]}, "32 bytes"),
        ({"assertion_keys": ["!"]}, "32 bytes"),
        ({"endpoint_id": "nobody"}, "not a valid endpoint id"),
        ({"endpoint_id": new_id()}, "answered for"),
    ],
)
def test_an_answer_that_makes_no_sense_ends_it(
    hub: Answers, tmp_path: Path, answer: Any, words: str
) -> None:
    whole = isinstance(answer, bytes) or answer == {"endpoint_id": "x"}
    endpoint = hub.signer.endpoint
    hub.answer = answer if whole else {**hub.answer, **answer}
    with pytest.raises(FatalError, match=words) as caught:
        client(hub, tmp_path, endpoint_id=endpoint).register()
    assert caught.value.exit_code is Exit.UNEXPECTED_ANSWER


@pytest.mark.parametrize("content", ["", "two words", "a\tb"])
def test_a_file_without_a_token_is_told(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(FatalError) as caught:
        read_token(token)
    assert caught.value.exit_code is Exit.NOT_AUTHORIZED
    with pytest.raises(FatalError, match="cannot be read"):
        read_token(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("address", "port", "changed"),
    [
        ("amqp://u:p@h:5672/v", None, "amqp://u:p@h:5672/v"),
        ("amqp://u:p@h:5672/v", 443, "amqp://u:p@h:443/v"),
        ("amqps://u:p%40@[::1]/%2F", 443, "amqps://u:p%40@[::1]:443/%2F"),
        ("amqp://h/", 443, "amqp://h:443/"),
    ],
)
def test_the_port_of_the_settings_is_used(address: str, port: int | None, changed: str) -> None:
    assert with_port(address, port) == changed
