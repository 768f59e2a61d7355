"""The user endpoint as a real process, with a real RabbitMQ, real signals and real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from tests.integration.user.conftest import HTEX, PROCESSES, THREADS, Start

from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result
from devtools.processes import wait_until
from devtools.rabbit import PrivateRabbit
from devtools.user_endpoint import HubSide, UserEndpointProcess

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]

WAIT_S = 30.0
EVERY = pytest.mark.parametrize(
    "config", [THREADS, PROCESSES, HTEX], ids=["threads", "processes", "htex"]
)


def double(number: int) -> int:
    return 2 * number


def record(folder: str, name: str, rest_s: float = 0.0) -> str:
    """Leave a trace of each run."""
    with (Path(folder) / "runs").open("a") as runs:
        runs.write(f"{name}\n")
    time.sleep(rest_s)
    return name


def runs_in(folder: Path) -> Counter[str]:
    path = folder / "runs"
    return Counter(path.read_text().split() if path.exists() else [])


def await_runs(folder: Path, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while runs_in(folder).total() < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tree(process: UserEndpointProcess) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=5.0)
    assert [one.cmdline() for one in alive] == []


def code_of(result: Result) -> str | None:
    return None if result.error_details is None else result.error_details.code


@EVERY
def test_it_serves_and_ends_on_sigterm_leaving_nothing(
    hub: HubSide, start: Start, config: dict[str, Any]
) -> None:
    process = start(config)
    first = hub.await_heartbeat(lambda state: True)
    assert first["heartbeat_period"] == 30.0
    assert first["engine_type"] == config["engine"]["type"]
    assert hub.call(double, 21) == 42
    children = tree(process)
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert hub.await_heartbeat(lambda state: state["heartbeat_period"] == 0)
    assert_gone(children)
    assert process.stderr() == ""


def test_the_end_of_its_input_ends_it(hub: HubSide, start: Start) -> None:
    process = start()
    assert hub.call(double, 1) == 2
    process.close_stdin()
    assert process.wait() == 0
    assert hub.await_heartbeat(lambda state: state["heartbeat_period"] == 0)


def test_a_silent_launcher_ends_it(hub: HubSide, start: Start) -> None:
    process = start(lease_s=1.0)
    assert hub.call(double, 1) == 2
    process.hold_breath()
    assert process.wait(10.0) == 0


def test_a_launcher_that_breathes_keeps_it(hub: HubSide, start: Start) -> None:
    process = start(lease_s=0.6)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        assert hub.call(double, 1) == 2
    assert process.process.poll() is None


@EVERY
def test_running_tasks_may_end_before_it_does(
    hub: HubSide, start: Start, config: dict[str, Any], tmp_path: Path
) -> None:
    process = start(config)
    task_id = hub.submit(record, str(tmp_path), "slow", 1.0)
    await_runs(tmp_path, 1)
    process.process.send_signal(signal.SIGTERM)
    results = hub.await_results([task_id])[task_id]
    assert [code_of(one) for one in results] == [None]
    assert process.wait() == 0


@EVERY
def test_what_runs_on_is_ended_and_told(
    hub: HubSide, start: Start, config: dict[str, Any], tmp_path: Path
) -> None:
    process = start(config, stop_grace_s=0.3)
    task_id = hub.submit(record, str(tmp_path), "endless", 3600.0)
    await_runs(tmp_path, 1)
    children = tree(process)
    process.process.send_signal(signal.SIGTERM)
    results = hub.await_results([task_id])[task_id]
    assert [code_of(one) for one in results] == ["TASK_LOST"]
    assert process.wait() == 0
    assert_gone(children)


def test_asked_twice_it_has_until_the_second_time(
    hub: HubSide, start: Start, tmp_path: Path
) -> None:
    process = start(stop_grace_s=0.05, asks_twice=True)
    slow = hub.submit(record, str(tmp_path), "slow", 1.0)
    await_runs(tmp_path, 1)
    process.process.send_signal(signal.SIGTERM)
    results = hub.await_results([slow])[slow]
    assert [code_of(one) for one in results] == [None]
    assert process.wait() == 0
    process = start(stop_grace_s=3600.0, asks_twice=True)
    endless = hub.submit(record, str(tmp_path), "endless", 3600.0)
    await_runs(tmp_path, 2)

    def has_ended() -> bool:
        # The first may be heard together with the second, and a third harms nobody.
        process.process.send_signal(signal.SIGTERM)
        return process.process.poll() is not None

    assert wait_until(has_ended, 30.0)
    results = hub.await_results([endless])[endless]
    assert [code_of(one) for one in results] == ["TASK_LOST"]
    assert process.wait() == 0


@EVERY
def test_killed_and_started_again_it_loses_no_task_and_runs_none_twice(
    hub: HubSide, start: Start, config: dict[str, Any], tmp_path: Path
) -> None:
    names = [f"task-{number}" for number in range(60)]
    ids = {hub.submit(record, str(tmp_path), name, 0.05): name for name in names}
    process = start(config)
    for round_number in range(3):
        await_runs(tmp_path, 5 + 10 * round_number)
        children = tree(process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert_gone(children)
        process = start(config)
    results = hub.await_results(ids, 90.0)
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    runs = runs_in(tmp_path)
    assert max(runs.values()) == 1
    codes = {ids[task_id]: {code_of(one) for one in came} for task_id, came in results.items()}
    assert set(codes) == set(names)
    # The same end each time it was told, and lost ones are those that ran or might have.
    assert all(len(told) == 1 for told in codes.values())
    assert {code for told in codes.values() for code in told} <= {None, "TASK_LOST"}
    assert all(runs[name] == 1 for name, told in codes.items() if told == {None})


def test_tasks_survive_a_restart_of_the_broker(
    hub: HubSide, start: Start, tmp_path: Path, rabbit: PrivateRabbit
) -> None:
    process = start(THREADS)
    assert hub.call(double, 1) == 2
    names = [f"task-{number}" for number in range(40)]
    ids = {hub.submit(record, str(tmp_path), name, 0.1): name for name in names}
    await_runs(tmp_path, 8)
    rabbit.kill()
    rabbit.start()
    results = hub.await_results(ids, 60.0)
    assert {code_of(one) for came in results.values() for one in came} == {None}
    assert runs_in(tmp_path) == Counter(names)
    assert process.process.poll() is None


def test_started_before_the_broker_it_serves_when_the_broker_comes(
    hub: HubSide, start: Start, rabbit: PrivateRabbit
) -> None:
    task_id = hub.submit(double, 4)
    rabbit.kill()
    process = start(THREADS)
    rabbit.start()
    hub.await_results([task_id], 60.0)
    assert process.process.poll() is None


@pytest.fixture
def principal(rabbit: PrivateRabbit, hub: HubSide) -> Iterator[tuple[str, str]]:
    """A broker user that may do all; yields its name and its URL."""
    name, password = f"uep.{hub.user_endpoint}.1", "secret-of-the-test"
    rabbit.api("PUT", f"/api/users/{name}", {"password": password, "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rabbit.api("PUT", f"/api/permissions/%2F/{name}", everything)
    yield name, f"amqp://{name}:{password}@127.0.0.1:{rabbit.ports.amqp}/%2F"
    rabbit.api("DELETE", f"/api/users/{name}")


def test_a_wrong_credential_ends_it_with_75(hub: HubSide, start: Start) -> None:
    process = start(url=hub.url.replace("chamberlain-hub:", "nobody:"))
    assert process.wait() == 75
    assert process.fatal()["code"] == "BROKER"
    assert "secret" not in process.stderr()


def test_a_revoked_credential_ends_it_with_75(
    hub: HubSide, start: Start, rabbit: PrivateRabbit, principal: tuple[str, str]
) -> None:
    name, url = principal
    process = start(url=url)
    assert hub.call(double, 2) == 4
    rabbit.api("PUT", f"/api/users/{name}", {"password": "another", "tags": ""})
    deadline = time.monotonic() + WAIT_S
    closed = False
    while not closed and time.monotonic() < deadline:
        # The management API learns of connections a few seconds late.
        for one in rabbit.api("GET", "/api/connections") or []:  # type: ignore[attr-defined]
            if one.get("user") == name:
                rabbit.api("DELETE", f"/api/connections/{quote(one['name'], safe='')}")
                closed = True
        time.sleep(0.1)
    assert process.wait() == 75


def test_a_configuration_with_faults_ends_it_with_78(start: Start) -> None:
    process = start({"engine": {"type": "ThreadPoolEngin"}, "idle": 1})
    assert process.wait() == 78
    fatal = process.fatal()
    assert fatal["code"] == "CONFIG_INVALID"
    assert 'did you mean "ThreadPoolEngine"?' in fatal["message"]
    assert "idle is not a known key" in fatal["message"]


def test_a_setup_that_fails_ends_it_with_78_and_its_words(start: Start) -> None:
    process = start({**THREADS, "endpoint_setup": "echo no module named gcc; exit 3"})
    assert process.wait() == 78
    assert "no module named gcc" in process.fatal()["message"]


def test_asked_to_stop_while_it_sets_up_it_ends_at_once(
    hub: HubSide, start: Start, tmp_path: Path
) -> None:
    process = start({**THREADS, "endpoint_setup": f"echo up >> {tmp_path}/runs; sleep 3600"})
    await_runs(tmp_path, 1)
    children = tree(process)
    process.process.send_signal(signal.SIGTERM)
    assert process.wait(10.0) == 0
    assert_gone(children)


def test_a_ledger_that_cannot_be_written_ends_it_with_70(
    hub: HubSide, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "ledger.db").mkdir()
    process = start()
    assert process.wait() == 70
    assert "ledger" in process.fatal()["message"]


def test_setup_comes_before_and_teardown_after_the_tasks(
    hub: HubSide, start: Start, tmp_path: Path
) -> None:
    config = {
        **THREADS,
        "endpoint_setup": f"echo setup >> {tmp_path}/runs",
        "endpoint_teardown": f"echo teardown >> {tmp_path}/runs",
    }
    process = start(config)
    hub.await_results([hub.submit(record, str(tmp_path), "task")])
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert (tmp_path / "runs").read_text().split() == ["setup", "task", "teardown"]


@pytest.mark.parametrize("order", [b"", b"\n", b'{"v": 2}\n', b"\x00" * 100 + b"\n"])
def test_without_an_order_it_ends_with_70(order: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "chamberlain_endpoint.user.main"],
        input=order,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 70
    last = done.stderr.decode().rstrip().rpartition("\n")[2]
    assert json.loads(last)["fatal"]["code"] == "START_FAILED"


def test_two_never_serve_from_one_folder(hub: HubSide, start: Start) -> None:
    first = start()
    assert hub.call(double, 1) == 2
    second = start()
    assert second.wait() == 70
    assert "running already" in second.fatal()["message"]
    assert hub.call(double, 2) == 4
    assert first.process.poll() is None


def print_and_read() -> str:
    print("out" * 100_000, flush=True)
    return sys.stdin.read()


def test_a_function_can_neither_read_the_lease_nor_stop_the_rest_by_printing(
    hub: HubSide, start: Start
) -> None:
    start()
    assert hub.call(print_and_read) == ""
    assert hub.call(double, 3) == 6


def leave_at_once() -> None:
    os._exit(9)


def test_a_function_that_ends_the_whole_process_is_told_as_lost(hub: HubSide, start: Start) -> None:
    task_id = hub.submit(leave_at_once)
    process = start()
    assert process.wait() == 9
    start()
    results = hub.await_results([task_id])[task_id]
    assert [code_of(one) for one in results] == ["TASK_LOST"]
    assert hub.call(double, 3) == 6


def test_a_repeat_of_a_task_runs_once(hub: HubSide, start: Start, tmp_path: Path) -> None:
    start()
    task_id = TaskId(new_id())
    for _ in range(5):
        hub.submit(record, str(tmp_path), "once", task_id=task_id)
    assert hub.call(double, 1) == 2
    hub.submit(record, str(tmp_path), "once", task_id=task_id)
    assert hub.call(double, 1) == 2
    assert runs_in(tmp_path) == Counter({"once": 1})


def modules() -> list[str]:
    return sorted(sys.modules)


def test_it_loads_nothing_that_it_does_not_need(hub: HubSide, start: Start) -> None:
    start()
    loaded = set(hub.call(modules))
    heavy = {"parsl", "jinja2", "jsonschema", "docker", "yaml", "cryptography", "zmq", "pydantic"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith("chamberlain_endpoint.launcher")}


def test_a_secret_is_in_no_log(hub: HubSide, start: Start, tmp_path: Path) -> None:
    process = start({**THREADS, "debug": True})
    assert hub.call(double, 1) == 2
    process.process.send_signal(signal.SIGTERM)
    process.wait()
    log = (tmp_path / "endpoint.log").read_text()
    password = hub.url.split(":")[2].split("@")[0]
    assert password not in log
    events = [json.loads(line)["event"] for line in log.splitlines() if '"event"' in line]
    assert "endpoint.serving" in events
    assert "endpoint.left" in events
