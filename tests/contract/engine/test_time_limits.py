"""A task with a limit ends with it, on every engine, as far as the engine can end it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.contract.engine.conftest import ALL, OWN_PROCESSES, WAIT_S, Running

from chamberlain_endpoint.engine import time_limit
from chamberlain_endpoint.engine.port import Finished, Lost
from chamberlain_endpoint.rendered import task_timeout
from chamberlain_wire.details import output_of, usage_of
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import unpack_result

LIMIT_S = 0.4


def timed_out(running: Running, function: Callable[..., None], *args: str) -> Result:
    running.await_capacity()
    running.submit(function, *args, timeout_s=LIMIT_S)
    result = running.result()
    assert result.error_details is not None
    assert result.error_details.code == "TASK_TIMEOUT", result.data
    assert f"longer than {LIMIT_S} s" in result.data
    assert "GC_TASK_TIMEOUT" in result.data
    return result


def spin() -> None:
    while True:
        time.sleep(0.01)


@ALL
def test_a_task_ends_with_its_time(running: Running) -> None:
    began = time.monotonic()
    result = timed_out(running, spin)
    assert LIMIT_S <= time.monotonic() - began < WAIT_S / 2
    used = usage_of(result)
    assert used is not None
    assert used.ended_at - used.started_at >= LIMIT_S
    assert running.call(double, 4) == 8


def double(number: int) -> int:
    return 2 * number


def say_where() -> int:
    print("in time")
    return os.getpid()


@ALL
def test_a_task_that_keeps_its_time_is_as_without_a_limit(running: Running) -> None:
    running.await_capacity()
    running.submit(say_where, timeout_s=60.0)
    result = running.result()
    output = output_of(result)
    assert output is not None
    assert output.stdout.text == "in time\n"
    assert isinstance(unpack_result(result.data), int)


def start_more(path: str) -> None:
    """Start a child, one in a session of its own, and an orphan; print, and never end."""
    wait = [sys.executable, "-c", "import time; time.sleep(3600)"]
    child = subprocess.Popen(wait)
    apart = subprocess.Popen(wait, start_new_session=True)
    orphan = subprocess.run(
        ["/bin/sh", "-c", "setsid sleep 3600 >/dev/null 2>&1 & echo $!"],
        check=True,
        capture_output=True,
        text=True,
    )
    print("what was said before the end")
    Path(path).write_text(f"{os.getpid()} {child.pid} {apart.pid} {orphan.stdout}")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(3600)


@OWN_PROCESSES
def test_nothing_that_it_started_is_left(running: Running, tmp_path: Path) -> None:
    result = timed_out(running, start_more, str(tmp_path / "pids"))
    pids = [int(text) for text in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert [pid for pid in pids if _lives(pid)] == []
    output = output_of(result)
    assert output is not None
    assert output.stdout.text == "what was said before the end\n"


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def hold_the_lock() -> None:
    """C code that never lets other Python threads run."""
    import ctypes

    ctypes.PyDLL(None).sleep(3600)


@OWN_PROCESSES
def test_c_code_that_never_comes_back_is_ended_too(running: Running) -> None:
    timed_out(running, hold_the_lock)


def end_process() -> None:
    os._exit(7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "htex"])
def test_a_task_that_ends_its_process_is_lost_with_a_limit_too(
    own: Callable[..., Running], name: str
) -> None:
    one = own(name)
    one.await_capacity()
    one.submit(end_process, timeout_s=60.0)
    assert isinstance(one.next_end(), Lost)


def read_one(descriptor: int) -> None:
    os.read(descriptor, 1)


@pytest.mark.slow
def test_a_thread_that_cannot_be_interrupted_is_answered_for(own: Callable[..., Running]) -> None:
    """It waits in the kernel: its caller gets the answer, and the engine has one thread less."""
    one = own("threads")
    ours, theirs = os.pipe()
    task = one.submit(read_one, ours, timeout_s=LIMIT_S)
    end = one.next_end()
    assert isinstance(end, Finished)
    assert end.task_id == task
    assert b"a thread cannot be killed" in end.body
    assert one.engine.capacity == 1
    os.write(theirs, b"x")
    one.await_capacity(2)
    assert one.call(double, 4) == 8
    os.close(ours)
    os.close(theirs)


def swallow() -> str:
    with contextlib.suppress(BaseException):
        spin()
    return "it went on"


@pytest.mark.parametrize("running", ["threads"], indirect=True)
def test_a_thread_that_swallows_its_interruption_has_failed(running: Running) -> None:
    timed_out(running, swallow)


def job_of_worker() -> str:
    return os.environ["SLURM_JOB_ID"]


@pytest.mark.slow
def test_usage_has_the_batch_job_that_the_worker_ran_in(
    own: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    one = own("processes")
    one.submit(job_of_worker)
    result = one.result()
    used = usage_of(result)
    assert used is not None
    assert (unpack_result(result.data), used.job_id) == ("4242", "4242")


def test_the_shortest_limit_counts_and_is_named() -> None:
    from chamberlain_endpoint.engine.port import Job, Rules
    from chamberlain_wire.ids import TaskId

    rules = Rules(endpoint_id="e", timeout_s=20.0)
    job = Job(task_id=TaskId("t"), buffer="", rules=rules, timeout_s=10.0)
    shortest = time_limit.of(job, {"GC_TASK_TIMEOUT": "30"})
    assert shortest is not None
    assert shortest.seconds == 10.0
    assert "its caller set" in shortest.whose
    shorter = time_limit.of(job, {"GC_TASK_TIMEOUT": "5"})
    assert shorter is not None
    assert (shorter.seconds, "its worker" in shorter.whose) == (5.0, True)


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf", "1e999", "5s"])
def test_a_limit_that_is_no_number_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(task_timeout.BadLimitError, match=r"GC_TASK_TIMEOUT is .* 600"):
        task_timeout.from_environment({"GC_TASK_TIMEOUT": text})


@pytest.mark.parametrize("text", ["", "0", "0.0"])
def test_no_limit_can_be_said_too(text: str) -> None:
    assert task_timeout.from_environment({"GC_TASK_TIMEOUT": text}) is None
