"""A stand-in hub over loopback HTTP and a real RabbitMQ; a manager against both."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.manager_builders import Signer, account, endpoint_folder

from chamberlain_endpoint.manager.config import settle as check
from chamberlain_endpoint.manager.launcher_port import MemoryLauncher
from chamberlain_endpoint.manager.main import Manager
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery, Outgoing
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.codec import decode, encode_command
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import EndpointEvent, StartCommand, StatusReport
from devtools.rabbit import PrivateRabbit

WAIT_S = 15.0


class StandInHub:
    """Answers registrations with real broker credentials, and collects what is reported."""

    def __init__(self, rabbit: PrivateRabbit, endpoint: EndpointId) -> None:
        self.endpoint = endpoint
        self.signer = Signer(endpoint)
        self.rabbit = rabbit
        self.status = 200
        self.registrations: list[dict[str, Any]] = []
        self.users: list[str] = []
        self.reports: list[StatusReport] = []
        self.changed = threading.Condition()
        self.broker = RabbitBroker(Secret(rabbit.amqp_url), name="stand-in-hub")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def open(self) -> None:
        self.broker.open()
        for exchange in topology.EXCHANGES:
            self.broker.declare_exchange(exchange)
        commands = topology.command_queue(self.endpoint)
        self.broker.declare_queue(commands, bind_to=(topology.COMMANDS, commands))
        beats = f"stand-in.{self.endpoint}"
        key = topology.heartbeats_key(self.endpoint)
        self.broker.declare_queue(beats, bind_to=(topology.HEARTBEATS, key))
        self.broker.consume(beats, self._on_report)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.broker.close()
        for user in self.users:
            with contextlib.suppress(urllib.error.HTTPError):
                self.rabbit.api("DELETE", f"/api/users/{user}")

    def ask(self, user_endpoint: str, options: dict[str, Any] | None = None) -> StartCommand:
        command = self.signer.command(user_endpoint, now=time.time(), options=options)
        self.send(encode_command(command))
        return command

    def send(self, body: bytes, **changes: Any) -> None:
        self.broker.publish(
            Outgoing(
                exchange=topology.COMMANDS,
                routing_key=topology.command_queue(self.endpoint),
                body=body,
                timestamp=changes.pop("timestamp", int(time.time())),
                expiration_ms=180_000,
                **changes,
            )
        ).result(WAIT_S)

    def wait(self, met: Callable[[StandInHub], Any], what: str) -> Any:
        with self.changed:
            assert self.changed.wait_for(lambda: met(self), WAIT_S), (what, self.events())
            return met(self)

    def events(self) -> list[EndpointEvent]:
        return [event for report in self.reports for event in report.events]

    def event(self, user_endpoint: str, kind: str) -> EndpointEvent:
        def found(hub: StandInHub) -> list[EndpointEvent]:
            return [
                event
                for event in hub.events()
                if (event.user_endpoint, event.kind) == (user_endpoint, kind)
            ]

        event: EndpointEvent = self.wait(found, f"{kind} of {user_endpoint}")[-1]
        return event

    def revoke(self) -> None:
        """Take the newest credential away; the broker closes its connections."""
        self.rabbit.api("DELETE", f"/api/users/{self.users[-1]}")

    def _on_report(self, delivery: Delivery) -> None:
        self.broker.ack(delivery)
        with self.changed:
            self.reports.append(decode(delivery.body, StatusReport))
            self.changed.notify_all()

    def _register(self, body: dict[str, Any]) -> dict[str, Any]:
        user = f"mgr.{self.endpoint}.{len(self.users)}"
        self.rabbit.api("PUT", f"/api/users/{user}", {"password": "secret", "tags": ""})
        grant = topology.manager_grant(self.endpoint)
        self.rabbit.api(
            "PUT",
            f"/api/permissions/%2F/{user}",
            {"configure": topology.NOTHING, "write": grant.write, "read": grant.read},
        )
        for exchange, key in grant.keys:
            self.rabbit.api(
                "PUT",
                f"/api/topic-permissions/%2F/{user}",
                {"exchange": exchange, "write": key, "read": topology.NOTHING},
            )
        url = f"amqp://{user}:secret@127.0.0.1:{self.rabbit.ports.amqp}/%2F"
        key = topology.heartbeats_key(self.endpoint)
        with self.changed:
            self.users.append(user)
            self.registrations.append(body)
            self.changed.notify_all()
        return {
            "endpoint_id": self.endpoint,
            "command_queue_info": {
                "connection_url": url,
                "exchange": topology.COMMANDS,
                "queue": topology.command_queue(self.endpoint),
            },
            "heartbeat_queue_info": {
                "connection_url": url,
                "exchange": topology.HEARTBEATS,
                "queue": topology.HEARTBEATS_QUEUE,
                "queue_publish_kwargs": {"exchange": topology.HEARTBEATS, "routing_key": key},
            },
            "assertion_keys": [self.signer.public_text],
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                ok = hub.status == 200
                answer = hub._register(body) if ok else {"reason": "because"}
                data = json.dumps(answer).encode()
                self.send_response(hub.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        return Handler


class RunningManager:
    """A manager of this process, in a thread of its own."""

    def __init__(self, config: Path, launcher: MemoryLauncher) -> None:
        self.manager = Manager(
            check(config),
            launcher=launcher,
            watched=launcher,
            make_broker=lambda url, on_link: RabbitBroker(url, name="manager", on_link=on_link),
        )
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.manager.stop()
        self.join()

    def join(self) -> None:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            self.manager.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error


@pytest.fixture
def hub(rabbit: PrivateRabbit) -> Iterator[StandInHub]:
    hub = StandInHub(rabbit, EndpointId(new_id()))
    hub.open()
    yield hub
    hub.close()


@pytest.fixture
def launcher(hub: StandInHub) -> MemoryLauncher:
    memory = MemoryLauncher(hub.endpoint, account())
    memory.clock = time.time
    return memory


@pytest.fixture
def config(hub: StandInHub, tmp_path: Path) -> Path:
    return endpoint_folder(
        tmp_path / "site", endpoint_id=hub.endpoint, hub_url=hub.url, heartbeat_period=5
    )


@pytest.fixture
def start(config: Path, launcher: MemoryLauncher) -> Iterator[Callable[[], RunningManager]]:
    started: list[RunningManager] = []

    def make() -> RunningManager:
        launcher.open()
        started.append(RunningManager(config, launcher))
        return started[-1]

    yield make
    for running in started:
        running.stop()
