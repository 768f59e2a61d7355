"""What engines promise when a task is cancelled: it alone ends, with all that it started."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.contract.engine.conftest import WAIT_S, Running, await_none_of
from tests.contract.engine.test_deaths import await_file, double, mark_and_wait

from chamberlain.shell import ShellFunction
from chamberlain_endpoint.engine.port import Finished, Lost, Returned
from chamberlain_wire.ids import TaskId, new_id

KILLS = pytest.mark.parametrize("name", ["processes", "htex"])


def started(one: Running, path: Path, function: Callable[..., Any]) -> tuple[TaskId, int]:
    """Run `function`, which writes a process id to `path`; return its task and that id."""
    task_id = one.submit(function, str(path))
    return task_id, await_file(path)


def test_a_thread_cannot_be_ended_and_it_says_so(own: Callable[..., Running]) -> None:
    one = own("threads", max_workers=1)
    gate, held = os.pipe()
    task_id = one.submit(os.read, gate, 1)
    deadline = time.monotonic() + WAIT_S
    while one.engine.status().idle:
        assert time.monotonic() < deadline
    assert not one.engine.cancel(task_id)
    os.write(held, b"x")
    end = one.next_end()
    assert isinstance(end, Finished)
    assert end.task_id == task_id
    os.close(gate)
    os.close(held)


def spawn_everything(path: str) -> None:
    """Start a child, one with a session of its own, and a daemon that leaves its parents."""
    import subprocess

    names = [path + end for end in (".child", ".session", ".daemon")]
    write = "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 3600"
    subprocess.Popen(["/bin/sh", "-c", write.format(names[0])])
    subprocess.Popen(["/bin/sh", "-c", write.format(names[1])], start_new_session=True)
    daemon = f"setsid /bin/sh -c '{write.format(names[2])}' & exit"
    subprocess.run(["/bin/sh", "-c", daemon], check=True)
    while not all(Path(name).exists() for name in names):
        time.sleep(0.01)
    Path(path).write_text(str(os.getpid()))
    time.sleep(3600)


@pytest.mark.slow
@KILLS
def test_a_running_task_ends_with_all_that_it_started_and_takes_nobody_along(
    own: Callable[..., Running], name: str, tmp_path: Path
) -> None:
    one = own(name)
    one.await_capacity(2)
    neighbour, neighbours_pid = started(one, tmp_path / "neighbour", mark_and_wait)
    doomed, pid = started(one, tmp_path / "doomed", spawn_everything)
    family = [psutil.Process(pid)]
    for end in (".child", ".session", ".daemon"):
        family.append(psutil.Process(await_file(tmp_path / f"doomed{end}")))
    assert one.engine.cancel(doomed)
    await_none_of(set(family))
    report = one.next_report()
    assert isinstance(report, Lost)
    assert report.task_id == doomed
    assert psutil.pid_exists(neighbours_pid)
    # Its place is taken by another worker, and the neighbour has not noticed.
    assert one.call(double, 21) == 42
    assert one.engine.cancel(neighbour)
    report = one.next_report()
    assert isinstance(report, Lost)
    assert report.task_id == neighbour


@pytest.mark.slow
@KILLS
def test_a_shell_functions_command_goes_with_its_task(
    own: Callable[..., Running], name: str, tmp_path: Path
) -> None:
    one = own(name)
    one.await_capacity()
    path, new = tmp_path / "sleep", tmp_path / "new"
    command = f"sleep 3600 & echo $! > {new}; mv {new} {path}; wait"
    task_id = one.submit(ShellFunction(command))
    sleep = psutil.Process(await_file(path))
    shell = sleep.parent()
    assert shell is not None
    assert one.engine.cancel(task_id)
    await_none_of({sleep, shell})
    report = one.next_report()
    assert isinstance(report, Lost)
    assert report.task_id == task_id


@pytest.mark.slow
@KILLS
def test_a_task_that_its_engine_keeps_waiting_is_not_begun(
    own: Callable[..., Running], name: str, tmp_path: Path
) -> None:
    one = own(name, **{"max_workers" if name == "processes" else "max_workers_per_node": 1})
    one.await_capacity()
    running, _ = started(one, tmp_path / "running", mark_and_wait)
    waiting = one.submit(mark_and_wait, str(tmp_path / "waiting"))
    assert one.engine.cancel(waiting)
    assert one.engine.cancel(running)
    reports = {report.task_id: report for report in (one.next_report(), one.next_report())}
    assert reports[waiting] == Returned(waiting)
    assert isinstance(reports[running], Lost)
    assert one.call(double, 4) == 8
    assert not (tmp_path / "waiting").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["threads", "processes", "htex"])
def test_cancelling_what_has_ended_or_was_never_there_disturbs_nobody(
    own: Callable[..., Running], name: str
) -> None:
    one = own(name)
    one.await_capacity()
    ended = one.submit(double, 1)
    assert one.next_end().task_id == ended
    one.engine.cancel(ended)
    one.engine.cancel(TaskId(new_id()))
    assert one.call(double, 5) == 10


def answer(number: int) -> bytes:
    return b"x" * 200_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "htex"])
def test_between_a_cancel_and_a_result_there_is_one_end_and_no_other_task_is_harmed(
    own: Callable[..., Running], name: str
) -> None:
    one = own(name)
    one.await_capacity(2)
    ids = [one.submit(answer, number) for number in range(60)]
    doomed = set(ids[::6])
    for task_id in doomed:
        one.engine.cancel(task_id)
    ends: dict[TaskId, Finished | Lost | Returned] = {}
    for _ in ids:
        report = one.next_report()
        assert report.task_id not in ends
        ends[report.task_id] = report
    assert set(ends) == set(ids)
    assert all(isinstance(ends[one], Finished) for one in set(ids) - doomed)
    with pytest.raises(queue.Empty):
        one.reports.get_nowait()
    assert one.call(double, 2) == 4
