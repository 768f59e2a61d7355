"""The broker is away, the hub is killed: nothing that was accepted is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from tests.integration.hub.conftest import BrokerSide, World
from tests.integration.hub.players import (
    WAIT_S,
    Caller,
    Manager,
    Sdk,
    UserEndpoint,
    eventually,
    only_task,
    served,
)

from chamberlain_wire.codec import decode
from chamberlain_wire.messages import Result
from devtools.rabbit import PrivateRabbit, free_ports

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]


def took(child: UserEndpoint, ids: set[str]) -> None:
    """Check that `child` gets the tasks `ids`; a broker or hub that died may repeat some."""
    missing = set(ids)
    while missing:
        missing.discard(child.next_task()[0].task_id)


@pytest.mark.timeout(240)
def test_what_is_submitted_while_the_broker_is_away_is_delivered_later(
    rabbit_world: World, rabbit: PrivateRabbit
) -> None:
    world = rabbit_world
    alice = world.caller("alice@example.edu")
    manager = world.manager(world.caller("admin@example.edu"))
    child, function = served(alice, manager)
    rabbit.kill()
    eventually(lambda: not world.dispatcher.link_up)
    began_at = time.monotonic()
    answer = alice.submit(manager.endpoint, function, "a", "b").ok()
    assert time.monotonic() - began_at < 5
    assert alice.task(answer["tasks"][function][0])["status"] == "received"
    refused = alice.get("/v2/get_amqp_result_connection_url")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    rabbit.start()
    ids = set(answer["tasks"][function])
    took(child, ids)
    results = world.sdk(alice).results(answer["task_group_id"])
    for task_id in ids:
        child.finish(task_id)
    assert {decode(results.get(timeout=WAIT_S).body, Result).task_id for _ in "ab"} == ids


@pytest.mark.timeout(240)
def test_a_start_that_could_not_be_asked_is_asked_when_the_broker_is_back(
    rabbit_world: World, rabbit: PrivateRabbit
) -> None:
    world = rabbit_world
    alice = world.caller("alice@example.edu")
    manager = world.manager(world.caller("admin@example.edu"))
    function = alice.function()
    rabbit.kill()
    eventually(lambda: not world.dispatcher.link_up)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    rabbit.start()
    child = manager.start(manager.next_command(30.0))
    assert child.next_task()[0].task_id == task_id


class HubProcess:
    """`chamberlain-hub serve`, as an administrator starts it."""

    def __init__(self, folder: Path, rabbit: PrivateRabbit) -> None:
        self.port = free_ports(1)[0]
        self._config = folder / "hub.toml"
        self._config.touch(mode=0o600)
        self._config.write_text(
            f'data_dir = "{folder / "data"}"\n'
            f"listen_port = {self.port}\n"
            f'broker_url = "{rabbit.amqp_url}"\n'
            f'broker_management_url = "{rabbit.management_url}"\n'
            "sweep_period_s = 0.2\n"
        )
        self._log = (folder / "hub.log").open("ab")
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([*self._command(), "serve"], stderr=self._log)
        nobody = Caller(self.base_url, None)
        eventually(lambda: self._answers(nobody), 30.0)
        nobody.close()

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._command(), *arguments], capture_output=True, text=True, check=True
        ).stdout

    def caller(self, username: str) -> Caller:
        self.run("user", "add", username)
        token = json.loads(self.run("token", "create", username, "--json"))["token"]
        return Caller(self.base_url, token)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def _command(self) -> list[str]:
        program = "from chamberlain_hub.main import main; main()"
        return [sys.executable, "-c", program, "--config", str(self._config)]

    def _answers(self, nobody: Caller) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the hub ended"
        try:
            return nobody.get("/health").status == 200
        except urllib3.exceptions.HTTPError:
            return False


@pytest.fixture
def hub(tmp_path: Path, rabbit: PrivateRabbit) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path, rabbit)
    hub.start()
    yield hub
    hub.close()


@pytest.fixture
def players(hub: HubProcess, rabbit_side: BrokerSide) -> Iterator[tuple[Caller, Manager]]:
    alice = hub.caller("alice@example.edu")
    body = {"endpoint_name": "site", "multi_user": True}
    manager = Manager.registered(alice.post("/v3/endpoints", body).ok(), rabbit_side.connect)
    manager.beat()
    yield alice, manager
    manager.close()
    alice.close()


def test_serve_ends_on_a_signal_and_keeps_its_promises(
    hub: HubProcess, players: tuple[Caller, Manager], rabbit_side: BrokerSide
) -> None:
    alice, manager = players
    child, function = served(alice, manager)
    done = threading.Event()
    accepted: list[str] = []

    def submit_until_refused() -> None:
        while not done.is_set():
            try:
                accepted.extend(alice.submit(manager.endpoint, function).ok()["tasks"][function])
            except (AssertionError, urllib3.exceptions.HTTPError):
                done.set()

    thread = threading.Thread(target=submit_until_refused)
    thread.start()
    eventually(lambda: len(accepted) > 5)
    assert hub.end(signal.SIGTERM) == 0
    done.wait(WAIT_S)
    thread.join()
    hub.start()
    took(child, set(accepted))
    for task_id in accepted:
        child.finish(task_id)
    assert alice.ended(accepted[-1])["status"] == "success"


def test_a_killed_hub_loses_nothing_that_it_accepted(
    hub: HubProcess, players: tuple[Caller, Manager], rabbit_side: BrokerSide
) -> None:
    alice, manager = players
    child, function = served(alice, manager)
    sdk = Sdk(alice, rabbit_side.connect)
    answer = alice.submit(manager.endpoint, function, *"abcdefgh").ok()
    ids = answer["tasks"][function]
    results = sdk.results(answer["task_group_id"])
    for task_id in ids:
        child.finish(task_id)
    assert hub.end(signal.SIGKILL) == -signal.SIGKILL
    hub.start()
    eventually(lambda: all(alice.task(one)["status"] == "success" for one in ids))
    told: set[str] = set()
    while told != set(ids):
        told.add(decode(results.get(timeout=WAIT_S).body, Result).task_id)
    sdk.close()


def test_a_hub_that_the_broker_refuses_ends_and_says_why(
    tmp_path: Path, rabbit: PrivateRabbit
) -> None:
    hub = HubProcess(tmp_path, rabbit)
    text = hub._config.read_text().replace(rabbit.password, "wrong")
    hub._config.write_text(text)
    hub.close()
    ended = subprocess.run(
        [*hub._command(), "serve"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "broker_url" in ended.stderr
