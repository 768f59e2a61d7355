"""The promises of `engine.port.Engine`, kept by threads, processes and Parsl's executor."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.choose import make_engine
from chamberlain_endpoint.engine.port import (
    Broken,
    CapacityChanged,
    Engine,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    Report,
    Rules,
)
from chamberlain_endpoint.rendered import settled
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.limits import MAX_RESULT_BYTES
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import (
    pack_function,
    pack_payload,
    unpack_exception,
    unpack_result,
)

WAIT_S = 30.0
CONFIGS: dict[str, dict[str, Any]] = {
    "threads": {"type": "ThreadPoolEngine", "max_workers": 2},
    "processes": {"type": "ProcessPoolEngine", "max_workers": 2},
    "htex": {"type": "GlobusComputeEngine", "max_workers_per_node": 2},
}
ALL = pytest.mark.parametrize("running", list(CONFIGS), indirect=True)
OWN_PROCESSES = pytest.mark.parametrize("running", ["processes", "htex"], indirect=True)


@dataclass
class Running:
    """An engine at work, and what it reported."""

    engine: Engine
    folder: Path
    reports: queue.SimpleQueue[Report] = field(default_factory=queue.SimpleQueue)

    def await_capacity(self, least: int = 1) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.engine.capacity < least:
            report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            assert isinstance(report, CapacityChanged), report

    def submit(self, function: Callable[..., Any], *args: Any, **rules: Any) -> TaskId:
        return self.submit_buffer(pack_function(function) + pack_payload(args, {}), **rules)

    def submit_buffer(self, buffer: str, **rules: Any) -> TaskId:
        task_id = TaskId(new_id())
        all_rules = {"endpoint_id": "the endpoint", "working_dir": str(self.folder / "work")}
        self.engine.submit(Job(task_id=task_id, buffer=buffer, rules=Rules(**(all_rules | rules))))
        return task_id

    def next_end(self) -> Finished | Lost:
        deadline = time.monotonic() + WAIT_S
        while True:
            report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(report, Finished | Lost):
                return report
            assert isinstance(report, CapacityChanged), report

    def result(self) -> Result:
        end = self.next_end()
        assert isinstance(end, Finished), end
        return decode(end.body, Result)

    def call(self, function: Callable[..., Any], *args: Any, **rules: Any) -> Any:
        self.await_capacity()
        task_id = self.submit(function, *args, **rules)
        result = self.result()
        assert result.task_id == task_id
        assert result.error_details is None, result.data
        return unpack_result(result.data)

    def fail(self, function: Callable[..., Any], *args: Any) -> Result:
        self.await_capacity()
        self.submit(function, *args)
        result = self.result()
        assert result.error_details is not None
        return result


def start(name: str, folder: Path, **changes: Any) -> Running:
    checked = rendered.parse({"engine": {**CONFIGS[name], **changes}})
    config = settled.read(checked.model_dump(mode="json"))
    one = Running(make_engine(config.engine, run_dir=folder / "engine"), folder)
    one.engine.start(one.reports.put)
    return one


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Engines that tests share; a test that breaks one makes its own."""
    made: dict[str, Running] = {}
    yield made
    for one in made.values():
        one.engine.stop()


@pytest.fixture
def running(
    request: pytest.FixtureRequest,
    engines: dict[str, Running],
    tmp_path_factory: pytest.TempPathFactory,
) -> Running:
    if request.param not in engines:
        engines[request.param] = start(request.param, tmp_path_factory.mktemp(request.param))
    return engines[request.param]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Make engines of the test's own; all are stopped, and nothing of them may be left."""
    made: list[Running] = []
    before = descendants()

    def make(name: str, **changes: Any) -> Running:
        made.append(start(name, tmp_path / str(len(made)), **changes))
        return made[-1]

    yield make
    for one in made:
        one.engine.stop()
    await_none_of(descendants() - before)


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def await_none_of(processes: set[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=5.0)
    assert [one.cmdline() for one in alive] == []


def double(number: int) -> int:
    return 2 * number


@ALL
def test_a_job_comes_back_as_its_result(running: Running) -> None:
    assert running.call(double, 21) == 42


@ALL
def test_a_result_tells_where_and_when_it_was_made(running: Running) -> None:
    running.await_capacity()
    running.submit(double, 1)
    result = running.result()
    assert result.details is not None
    assert result.details["endpoint_id"] == "the endpoint"
    assert set(result.details) >= {"os", "python_version", "dill_version", "hostname"}
    assert result.task_statuses is not None
    began, ended = result.task_statuses
    assert (began.state, ended.state) == ("execution-start", "execution-end")
    assert began.timestamp <= ended.timestamp
    assert result.usage is not None
    assert result.usage["cpu_s"] >= 0


@ALL
def test_many_jobs_all_end_once(running: Running) -> None:
    running.await_capacity()
    ids = [running.submit(double, number) for number in range(200)]
    ended = [running.next_end().task_id for _ in ids]
    assert sorted(ended) == sorted(ids)


def raise_value_error(text: str) -> None:
    raise ValueError(text)


@ALL
def test_an_exception_comes_back_with_its_traceback_and_itself(running: Running) -> None:
    result = running.fail(raise_value_error, "too hot")
    assert result.error_details is not None
    assert result.error_details.code == "RemoteExecutionError"
    assert result.error_details.user_message == "ValueError: too hot"
    assert "raise_value_error" in result.data
    assert "worker.py" not in result.data
    error = unpack_exception(result.exception)
    assert isinstance(error, ValueError)
    assert error.args == ("too hot",)


def leave(kind: str) -> None:
    if kind == "exit":
        sys.exit(3)
    raise {"interrupt": KeyboardInterrupt, "generator": GeneratorExit}[kind]


@ALL
@pytest.mark.parametrize("kind", ["exit", "interrupt", "generator"])
def test_a_function_that_wants_to_leave_is_a_failed_task(running: Running, kind: str) -> None:
    assert running.fail(leave, kind).error_details is not None
    assert running.call(double, 4) == 8


class NastyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def raise_nasty() -> None:
    raise NastyError


@ALL
def test_an_exception_without_a_text_is_a_failed_task(running: Running) -> None:
    assert "NastyError" in running.fail(raise_nasty).data


def print_much() -> str:
    print("x" * 1_000_000, flush=True)
    print("y" * 1_000_000, file=sys.stderr, flush=True)
    os.write(1, b"straight to the descriptor")
    return "done"


@OWN_PROCESSES
def test_what_a_function_prints_disturbs_nobody(running: Running) -> None:
    assert running.call(print_much) == "done"


def read_input() -> str:
    return sys.stdin.read() if sys.stdin else ""


@OWN_PROCESSES
def test_a_function_that_reads_its_input_finds_none(running: Running) -> None:
    assert running.call(read_input) == ""


def text_of(length: int) -> str:
    return "x" * length


@ALL
def test_a_result_above_the_limit_is_refused_with_the_limit(running: Running) -> None:
    result = running.fail(text_of, MAX_RESULT_BYTES)
    assert result.error_details is not None
    assert result.error_details.code == "MaxResultSizeExceeded"
    assert str(MAX_RESULT_BYTES) in result.data


@ALL
def test_a_result_below_the_limit_travels(running: Running) -> None:
    assert len(running.call(text_of, 7_000_000)) == 7_000_000


def give_generator() -> Any:
    return (number for number in range(3))


@ALL
def test_a_result_that_cannot_travel_is_told_as_that(running: Running) -> None:
    result = running.fail(give_generator)
    assert result.error_details is not None
    assert result.error_details.code == "SERIALIZATION"
    assert "generator" in result.data


@ALL
@pytest.mark.parametrize("buffer", ["", "garbage", "3\nabc", "5\n99\nab5\n00\nab5\n00\nab"])
def test_what_cannot_be_unpacked_is_a_failed_task(running: Running, buffer: str) -> None:
    running.await_capacity()
    running.submit_buffer(buffer)
    result = running.result()
    assert result.error_details is not None
    assert result.error_details.code == "SERIALIZATION"


@ALL
def test_resources_that_it_does_not_have_are_refused(running: Running) -> None:
    job = Job(
        task_id=TaskId(new_id()),
        buffer="",
        rules=Rules(endpoint_id="e"),
        resources={"num_nodes": 2},
    )
    with pytest.raises(JobRefusedError, match="takes no"):
        running.engine.submit(job)


@ALL
def test_a_serializer_that_is_not_allowed_is_refused(running: Running) -> None:
    running.await_capacity()
    running.submit(double, 1, allowed_serializers=["PureSourceDill", "JSONData"])
    assert "does not allow" in running.result().data


@ALL
def test_it_tells_how_it_is(running: Running) -> None:
    running.await_capacity(2)
    status = running.engine.status()
    assert status.workers >= 1
    assert status.running == 0
    assert status.more["engine_type"] == CONFIGS[_name_of(running)]["type"]


def _name_of(running: Running) -> str:
    kind = type(running.engine).__name__
    return {"ThreadEngine": "threads", "ProcessEngine": "processes", "ParslEngine": "htex"}[kind]


def where_am_i() -> tuple[str, str | None, str | None]:
    return str(Path.cwd()), os.environ.get("GC_TASK_UUID"), os.environ.get("GC_TASK_SANDBOX_DIR")


@OWN_PROCESSES
def test_a_task_knows_its_id_and_its_folder(running: Running) -> None:
    folder, task_id, _ = running.call(where_am_i)
    assert folder == str(running.folder / "work")
    assert task_id is not None
    assert len(task_id) == 36


@OWN_PROCESSES
def test_in_a_sandbox_each_task_has_a_folder_of_its_own(running: Running) -> None:
    folder, task_id, sandbox = running.call(where_am_i, sandbox=True)
    assert folder == sandbox == str(running.folder / "work" / str(task_id))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "htex"])
def test_a_worker_that_dies_takes_only_its_own_task_along(
    own: Callable[..., Running], name: str
) -> None:
    one = own(name)
    one.await_capacity()
    doomed = one.submit(die)
    others = [one.submit(double, number) for number in range(5)]
    ends = {end.task_id: end for end in (one.next_end() for _ in range(6))}
    lost = ends.pop(doomed)
    assert isinstance(lost, Lost)
    assert "killed" in lost.reason
    assert set(ends) == set(others)
    assert all(isinstance(end, Finished) for end in ends.values())
    assert one.call(double, 3) == 6


def mark_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(3600)


def await_file(path: Path) -> int:
    deadline = time.monotonic() + WAIT_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "htex"])
def test_stopped_while_a_task_runs_it_leaves_nothing_behind(
    own: Callable[..., Running], name: str, tmp_path: Path
) -> None:
    one = own(name)
    one.await_capacity()
    one.submit(mark_and_wait, str(tmp_path / "pid"))
    worker = psutil.Process(await_file(tmp_path / "pid"))
    began = time.monotonic()
    one.engine.stop()
    assert time.monotonic() - began < 4.0
    await_none_of({worker})


def spawn_and_wait(path: str) -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    Path(path).write_text(str(child.pid))
    child.wait()


@pytest.mark.slow
def test_what_a_task_of_a_block_started_goes_with_the_block(
    own: Callable[..., Running], tmp_path: Path
) -> None:
    one = own("htex")
    one.await_capacity()
    one.submit(spawn_and_wait, str(tmp_path / "pid"))
    child = psutil.Process(await_file(tmp_path / "pid"))
    one.engine.stop()
    await_none_of({child})


def test_a_running_task_of_a_process_can_be_cancelled(
    own: Callable[..., Running], tmp_path: Path
) -> None:
    one = own("processes")
    task_id = one.submit(mark_and_wait, str(tmp_path / "pid"))
    await_file(tmp_path / "pid")
    assert one.engine.cancel(task_id)
    assert one.next_end() == Lost(task_id, "The task was cancelled.")
    assert one.call(double, 1) == 2


def test_a_task_that_no_thread_has_taken_can_be_cancelled(own: Callable[..., Running]) -> None:
    one = own("threads", max_workers=1)
    gate, held = read_gate()
    first = one.submit(os.read, gate, 1)
    second = one.submit(double, 1)
    assert one.engine.cancel(second)
    assert one.next_end() == Lost(second, "The task was cancelled.")
    os.write(held, b"x")
    assert one.next_end().task_id == first
    os.close(gate)
    os.close(held)


def read_gate() -> tuple[int, int]:
    return os.pipe()


def test_a_worker_that_dies_while_it_is_idle_is_replaced(own: Callable[..., Running]) -> None:
    one = own("processes", max_workers=1)
    assert one.call(double, 1) == 2
    for process in processes_with("engine.child"):
        process.kill()
        process.wait(WAIT_S)
    assert one.call(double, 2) == 4


def test_a_pool_whose_workers_cannot_start_says_so(
    own: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    one = own("processes", max_workers=1)
    task_id = one.submit(double, 1)
    end = one.next_end()
    assert isinstance(end, Lost)
    assert end.task_id == task_id


def processes_with(word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["nterchange", "parsl_entry pool"], ids=["interchange", "pool"])
def test_killed_parts_of_the_executor_lose_the_running_task_and_are_replaced(
    own: Callable[..., Running], tmp_path: Path, victim: str
) -> None:
    one = own("htex")
    one.await_capacity()
    task_id = one.submit(mark_and_wait, str(tmp_path / "pid"))
    worker = psutil.Process(await_file(tmp_path / "pid"))
    for process in processes_with(victim):
        process.kill()
    end = one.next_end()
    assert isinstance(end, Lost)
    assert end.task_id == task_id
    assert "SIGKILL" in end.reason
    await_none_of({worker})
    one.engine.want(1)
    assert one.call(double, 5) == 10


@pytest.mark.slow
def test_blocks_that_cannot_start_are_tried_three_times_and_say_why(
    own: Callable[..., Running],
) -> None:
    provider = {"type": "LocalProvider", "worker_init": "echo no such module; exit 7"}
    one = own("htex", provider=provider)
    one.engine.want(1)
    report = one.reports.get(timeout=WAIT_S)
    while not isinstance(report, Broken):
        report = one.reports.get(timeout=WAIT_S)
    assert "no such module" in report.reason
    assert "exit code 7" in report.reason
    scripts = list((one.folder / "engine" / "blocks").glob("*.sh"))
    assert len(scripts) == 3


@pytest.mark.slow
def test_more_tasks_get_more_blocks_and_idle_blocks_go(own: Callable[..., Running]) -> None:
    one = own(
        "htex",
        max_workers_per_node=1,
        encrypted=False,
        provider={"type": "LocalProvider", "init_blocks": 0, "min_blocks": 0, "max_blocks": 2},
        job_status_kwargs={"max_idletime": 0.3, "strategy_period": 0.1},
    )
    assert one.engine.capacity == 0
    one.engine.want(5)
    one.await_capacity(2)
    assert one.engine.status().more["managers"] == 2
    one.engine.want(0)
    deadline = time.monotonic() + WAIT_S
    while one.engine.capacity:
        one.reports.get(timeout=max(0.0, deadline - time.monotonic()))
    one.engine.want(1)
    assert one.call(double, 8) == 16
