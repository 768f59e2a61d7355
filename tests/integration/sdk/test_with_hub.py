"""The SDK and the hub, with an endpoint that the test plays: threads instead of processes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.hub.conftest import World, migrated, rabbit_side, rabbit_world, sqlite
from tests.integration.hub.players import WAIT_S, Manager, UserEndpoint
from tests.integration.sdk.stand_in import run

from chamberlain import (
    AuthenticationError,
    Client,
    Executor,
    InvalidRequestError,
    NotFoundError,
)
from chamberlain_wire import codec
from chamberlain_wire.messages import Task

__all__ = ["migrated", "rabbit_side", "rabbit_world", "sqlite"]
pytestmark = pytest.mark.needs_rabbit


class Endpoint:
    """Admits everybody but mallory, and runs tasks in a thread for each user endpoint."""

    def __init__(self, manager: Manager) -> None:
        self.id = manager.endpoint
        self.options: list[Any] = []
        self._manager = manager
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._manage, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _manage(self) -> None:
        while not self._stopped.is_set():
            try:
                command = self._manager.next_command(0.1)
            except queue.Empty:
                continue
            if command.globus_username.startswith("mallory"):
                text = "Identity failed to map to a local user name: mallory@elsewhere.org"
                self._manager.say("refused", command, code="IDENTITY_NOT_MAPPED", message=text)
                continue
            self.options.append(command.kwargs.user_opts)
            child = self._manager.start(command)
            thread = threading.Thread(target=self._serve, args=[child], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, child: UserEndpoint) -> None:
        while not self._stopped.is_set():
            try:
                delivery = child.tasks.get(timeout=0.1)
            except queue.Empty:
                continue
            task = codec.decode(delivery.body, Task)
            child.publish(child._results, codec.encode(run(task.task_id, task.task_buffer)))


@pytest.fixture
def endpoint(rabbit_world: World) -> Iterator[Endpoint]:
    one = Endpoint(rabbit_world.manager(rabbit_world.caller("admin@example.edu")))
    yield one
    one.close()


def client_of(world: World, username: str) -> Client:
    import time

    identity = world.store.find_identity(username) or world.store.add_identity(username)
    _, token = world.store.create_token(identity.id, "sdk", time.time() + 600)
    return Client(world.base_url, token, patience_s=20.0)


def double(number: int) -> int:
    return 2 * number


def fail() -> None:
    raise ZeroDivisionError("on purpose")


def test_functions_run_and_results_come(rabbit_world: World, endpoint: Endpoint) -> None:
    with Executor(endpoint.id, client_of(rabbit_world, "alice@example.edu")) as executor:
        assert list(executor.map(double, range(300), timeout=WAIT_S)) == [
            2 * number for number in range(300)
        ]
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            executor.submit(fail).result(WAIT_S)


def test_each_configuration_has_its_user_endpoint(rabbit_world: World, endpoint: Endpoint) -> None:
    with Executor(endpoint.id, client_of(rabbit_world, "alice@example.edu")) as executor:
        futures = []
        for workers in (1, 2):
            executor.user_endpoint_config = {"workers": workers}
            futures.append(executor.submit(double, workers))
        assert [future.result(WAIT_S) for future in futures] == [2, 4]
    assert sorted(endpoint.options, key=str) == [{"workers": 1}, {"workers": 2}]


def test_who_maps_to_nobody_is_told_at_once(rabbit_world: World, endpoint: Endpoint) -> None:
    with Executor(endpoint.id, client_of(rabbit_world, "mallory@elsewhere.org")) as executor:
        future = executor.submit(double, 1)
        with pytest.raises(InvalidRequestError, match=r"^Request payload failed validation: Ident"):
            future.result(WAIT_S)


def test_an_unknown_token_and_endpoint_are_told(rabbit_world: World, endpoint: Endpoint) -> None:
    nobody = Client(rabbit_world.base_url, "chp_" + "x" * 43)
    with Executor(endpoint.id, nobody) as executor, pytest.raises(AuthenticationError):
        executor.submit(double, 1).result(WAIT_S)
    alice = client_of(rabbit_world, "alice@example.edu")
    elsewhere = "33333333-3333-4333-8333-333333333333"
    with Executor(elsewhere, alice) as executor, pytest.raises(NotFoundError):
        executor.submit(double, 1).result(WAIT_S)


def test_the_client_sees_identity_endpoint_function_and_tasks(
    rabbit_world: World, endpoint: Endpoint
) -> None:
    client = client_of(rabbit_world, "alice@example.edu")
    assert client.whoami()["preferred_username"] == "alice@example.edu"
    assert client.endpoint_status(endpoint.id)["status"] == "online"
    function = client.register_function(double)
    assert client.get_function(function)["function_name"] == "double"
    task = client.run(function, endpoint.id, (21,))
    with Executor(endpoint.id, client) as executor:
        executor.submit_to_registered_function(function, (1,)).result(WAIT_S)
    assert client.get_result(task) == 42
    listed = client.tasks()
    assert {one["function_name"] for one in listed} == {"double"}
    assert task in [one["task_id"] for one in listed]
    assert [one["task_id"] for one in client.tasks(state="failed")] == []


def test_failed_tasks_are_read_back_with_their_own_exception(
    rabbit_world: World, endpoint: Endpoint
) -> None:
    client = client_of(rabbit_world, "alice@example.edu")
    with Executor(endpoint.id, client) as executor:
        future = executor.submit(fail)
        assert isinstance(future.exception(WAIT_S), ZeroDivisionError)
        group = executor.task_group_id
    with pytest.raises(ZeroDivisionError):
        client.get_result(future.task_id)
    with Executor(endpoint.id, client) as executor:
        (again,) = executor.reload_tasks(group)
        assert isinstance(again.exception(WAIT_S), ZeroDivisionError)


def test_a_hub_that_restarts_between_submit_and_result_loses_nothing(
    rabbit_world: World, endpoint: Endpoint
) -> None:
    with Executor(endpoint.id, client_of(rabbit_world, "alice@example.edu")) as executor:
        executor.submit(double, 1).result(WAIT_S)
        gate = threading.Event()
        _gates["one"] = gate
        future = executor.submit(wait_for_gate)
        assert not future.done()
        rabbit_world.stop()
        gate.set()
        rabbit_world.start()
        assert future.result(WAIT_S) == "after"


_gates: dict[str, threading.Event] = {}


def wait_for_gate() -> str:
    # Runs in this process: the gate is found where it was put, not sent.
    from tests.integration.sdk import test_with_hub

    test_with_hub._gates["one"].wait(WAIT_S)
    return "after"
