"""Cancellation from the researcher's future to the worker's process: SDK, hub, RabbitMQ, engine.

All parts are real but the manager and the launcher, whose only part in it is to hand over the
credentials of the start command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.integration.hub.conftest import World, migrated, rabbit_side, rabbit_world, sqlite
from tests.integration.hub.players import Manager, command_id, eventually

from chamberlain import Client, Executor, ShellFunction
from chamberlain.errors import NotFoundError
from chamberlain_wire.messages import StartCommand
from devtools.user_endpoint import UserEndpointProcess

__all__ = ["migrated", "rabbit_side", "rabbit_world", "sqlite"]
pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]

WAIT_S = 30.0
ENGINES: dict[str, dict[str, Any]] = {
    "threads": {"type": "ThreadPoolEngine", "max_workers": 2},
    "processes": {"type": "ProcessPoolEngine", "max_workers": 2},
    "htex": {"type": "GlobusComputeEngine", "max_workers_per_node": 2},
}


class Granted:
    """What one start command brings, as `UserEndpointProcess` asks for it."""

    def __init__(self, command: StartCommand) -> None:
        self._granted = command.kwargs.amqp_creds
        self.user_endpoint = self._granted.endpoint_id

    def credentials(self, url: str | None = None) -> dict[str, Any]:
        assert url is None
        return dict(msgspec.to_builtins(self._granted))


class Site:
    """One endpoint, whose user endpoints are real processes."""

    def __init__(self, world: World, manager: Manager, folder: Path) -> None:
        self.world = world
        self.manager = manager
        self.folder = folder
        self.engine = "threads"
        self.processes: list[UserEndpointProcess] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def client(self) -> Client:
        identity = self.world.store.find_identity("alice@example.edu")
        identity = identity or self.world.store.add_identity("alice@example.edu")
        _, token = self.world.store.create_token(identity.id, "sdk", time.time() + 600)
        return Client(self.world.base_url, token, patience_s=20.0)

    def start(self, command: StartCommand) -> UserEndpointProcess:
        config = {"engine": ENGINES[self.engine]}
        # It has what it needs of a `HubSide`.
        granted: Any = Granted(command)
        self.processes.append(UserEndpointProcess(granted, self.folder, config))
        return self.processes[-1]

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(WAIT_S)
        for process in self.processes:
            ended = process.process.poll() is not None
            children = [] if ended else psutil.Process(process.pid).children(recursive=True)
            process.end()
            psutil.wait_procs(children, timeout=WAIT_S)

    def _serve(self) -> None:
        import queue

        while not self._stopped.is_set():
            try:
                command = self.manager.next_command(0.1)
            except queue.Empty:
                continue
            assert command_id(command)
            self.manager.say("admitted", command)
            self.start(command)


@pytest.fixture
def site(rabbit_world: World, tmp_path: Path) -> Iterator[Site]:
    manager = rabbit_world.manager(rabbit_world.caller("admin@example.edu"))
    manager.report(heartbeat_period=30, control="1")

    def known() -> bool:
        endpoint = rabbit_world.store.endpoint(manager.endpoint)
        return endpoint is not None and "control" in endpoint.last_state

    eventually(known)
    folder = tmp_path / "user-endpoint"
    folder.mkdir()
    one = Site(rabbit_world, manager, folder)
    yield one
    one.close()


@pytest.fixture
def executor(site: Site) -> Iterator[Executor]:
    one = Executor(site.manager.endpoint, site.client())
    yield one
    one.shutdown(cancel_futures=True)


def mark_and_wait(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    while not Path(path + ".go").exists():
        time.sleep(0.02)
    return "went on"


def double(number: int) -> int:
    return 2 * number


def await_pid(path: Path) -> psutil.Process:
    return psutil.Process(int(eventually(lambda: path.exists() and path.read_text(), WAIT_S)))


def outcome(client: Client, task_id: str) -> str:
    def known() -> Any:
        return client.get_task(task_id)["cancellation"]["outcome"]

    return str(eventually(known, WAIT_S))


def assert_gone(process: psutil.Process) -> None:
    psutil.wait_procs([process], timeout=5.0)
    assert not process.is_running()


@pytest.mark.parametrize(
    ("engine", "ended"), [("threads", "goes_on"), ("processes", "killed"), ("htex", "killed")]
)
def test_a_running_task_is_cancelled_and_its_neighbour_is_not(
    site: Site, executor: Executor, tmp_path: Path, engine: str, ended: str
) -> None:
    site.engine = engine
    client = site.client()
    neighbour = executor.submit(mark_and_wait, str(tmp_path / "neighbour"))
    doomed = executor.submit(mark_and_wait, str(tmp_path / "doomed"))
    waiting = executor.submit(mark_and_wait, str(tmp_path / "waiting"))
    await_pid(tmp_path / "neighbour")
    process = await_pid(tmp_path / "doomed")
    # Long before the next heartbeat.
    eventually(lambda: client.get_task(doomed.task_id)["status"] == "running", 10.0)
    began = time.monotonic()
    # First, or it would take the other's place.
    assert waiting.cancel()
    assert doomed.cancel()
    assert doomed.cancelled()
    with pytest.raises(CancelledError):
        doomed.result(0)
    assert [one["state"] for one in client.tasks(state="cancelled")] == ["cancelled"] * 2
    assert time.monotonic() - began < 5.0
    if ended == "killed":
        assert_gone(process)
    assert outcome(client, doomed.task_id) == ended
    assert outcome(client, waiting.task_id) == "before_start"
    (tmp_path / "doomed.go").touch()
    (tmp_path / "neighbour.go").touch()
    assert neighbour.result(WAIT_S) == "went on"
    assert executor.submit(double, 21).result(WAIT_S) == 42
    assert not neighbour.cancel()
    with pytest.raises(CancelledError):
        client.get_result(doomed.task_id)
    assert client.cancel_task(doomed.task_id) == "cancelled"
    assert not (tmp_path / "waiting").exists()


def test_a_shell_commands_group_goes_with_its_task(
    site: Site, executor: Executor, tmp_path: Path
) -> None:
    site.engine = "processes"
    client = site.client()
    path, new = tmp_path / "sleep", tmp_path / "new"
    command = ShellFunction(f"sleep 3600 & echo $! > {new}; mv {new} {path}; wait")
    future = executor.submit(command)
    sleep = await_pid(path)
    assert future.cancel()
    assert_gone(sleep)
    assert outcome(client, future.task_id) == "killed"


def test_shutdown_cancels_what_runs_and_what_waits(
    site: Site, executor: Executor, tmp_path: Path
) -> None:
    site.engine = "processes"
    client = site.client()
    futures = [executor.submit(mark_and_wait, str(tmp_path / str(n))) for n in range(6)]
    running = [await_pid(tmp_path / str(n)) for n in range(2)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    for process in running:
        assert_gone(process)
    ends = sorted(outcome(client, future.task_id) for future in futures)
    assert ends == ["before_start"] * 4 + ["killed"] * 2


def test_with_its_user_endpoint_dead_it_is_final_at_once_and_never_runs(
    site: Site, executor: Executor, tmp_path: Path
) -> None:
    client = site.client()
    assert executor.submit(double, 1).result(WAIT_S) == 2
    first = site.processes[0]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    futures = [executor.submit(mark_and_wait, str(tmp_path / str(n))) for n in range(3)]
    eventually(lambda: len(client.tasks(state="waiting-for-ep")) == 3)
    began = time.monotonic()
    assert all(future.cancel() for future in futures[:2])
    assert time.monotonic() - began < 5.0
    # The next one finds all three in its queue.
    assert site.manager.last is not None
    site.start(site.manager.last)
    await_pid(tmp_path / "2")
    (tmp_path / "2.go").touch()
    assert futures[2].result(WAIT_S) == "went on"
    assert [outcome(client, one.task_id) for one in futures[:2]] == ["before_start"] * 2
    executor.shutdown()
    assert not (tmp_path / "0").exists()
    assert not (tmp_path / "1").exists()


def end_at_hub(client: Client, task_id: str) -> str:
    try:
        return str(client.get_task(task_id)["error_details"]["code"])
    except NotFoundError:
        return "never sent"


def test_of_cancels_and_results_at_the_same_time_each_task_has_one_end(site: Site) -> None:
    client = site.client()
    with Executor(site.manager.endpoint, client) as executor:
        assert executor.submit(double, 1).result(WAIT_S) == 2
        futures = [executor.submit(double, number) for number in range(150)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda one: one.cancel(), futures[::2]))
        for future, cancelled in zip(futures[::2], answers, strict=True):
            # True is a promise, and so is a result.
            assert future.cancelled() is cancelled
        for number, future in enumerate(futures):
            if future.cancelled():
                assert end_at_hub(client, future.task_id) in ("TASK_CANCELLED", "never sent")
            else:
                assert future.result(WAIT_S) == 2 * number


SCRIPT = """
import sys, time
from chamberlain import Client, Executor

def wait(path):
    import os, pathlib, time
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(3600)

executor = Executor(sys.argv[1])
if sys.argv[3] == "with":
    with executor:
        executor.submit(wait, sys.argv[2]).result()
elif sys.argv[3] == "detached":
    executor.submit(wait, sys.argv[2])
    executor.shutdown(wait=False)
    time.sleep(3600)
else:
    executor.submit(wait, sys.argv[2]).result()
"""


@pytest.mark.parametrize("way", ["with", "without", "detached"])
def test_ctrl_c_leaves_nothing_running_unless_it_was_detached(
    site: Site, tmp_path: Path, way: str
) -> None:
    import sys

    site.engine = "processes"
    client = site.client()
    config = client.rest._config
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, site.manager.endpoint, str(tmp_path / "pid"), way],
        env={
            **os.environ,
            "CHAMBERLAIN_HUB_URL": config.hub_url,
            "CHAMBERLAIN_TOKEN": config.token.reveal(),
        },
        stderr=subprocess.PIPE,
    )
    worker = await_pid(tmp_path / "pid")
    script.send_signal(signal.SIGINT)
    _, said = script.communicate(timeout=WAIT_S)
    assert b"KeyboardInterrupt" in said
    wanted = "running" if way == "detached" else "cancelled"
    eventually(lambda: [one["state"] for one in client.tasks()] == [wanted])
    (task,) = client.tasks()
    if way == "detached":
        assert worker.is_running()
        client.cancel_task(task["task_id"])
    assert_gone(worker)
