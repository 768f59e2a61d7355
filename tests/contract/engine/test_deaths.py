"""What engines promise when workers, pools and executors die, and at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.contract.engine.conftest import (
    WAIT_S,
    Running,
    await_none_of,
)

from chamberlain_endpoint.engine.port import (
    Broken,
    Finished,
    Lost,
    Returned,
)


def double(number: int) -> int:
    return number * 2


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


def crash() -> None:
    import ctypes

    print("before the crash", file=sys.stderr)
    ctypes.string_at(0)


@pytest.mark.slow
def test_a_process_that_crashes_is_told_with_its_last_words(own: Callable[..., Running]) -> None:
    one = own("processes")
    one.submit(crash)
    lost = one.next_end()
    assert isinstance(lost, Lost)
    assert "before the crash" in lost.reason
    assert "Segmentation fault" in lost.reason
    assert "in crash" in lost.reason
    one.submit(crash, output_bytes=0)
    lost = one.next_end()
    assert isinstance(lost, Lost)
    assert "before the crash" not in lost.reason


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
    assert one.next_report() == Returned(second)
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
