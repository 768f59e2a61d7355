"""Which worker runs what, and that nobody is ended for another's task."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from chamberlain_endpoint.engine import slots
from chamberlain_endpoint.engine.family import TASK_VARIABLE, end_family, end_marked
from chamberlain_endpoint.engine.slots import Recalled, Slots
from chamberlain_wire.ids import new_id


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Slots:
    monkeypatch.setenv(slots.VARIABLE, "")
    return slots.make()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "3600"])
    yield process
    process.kill()
    process.wait()


def as_worker(memory: Slots, monkeypatch: pytest.MonkeyPatch, pid: int, task_id: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        memory.begin(7, task_id)


def test_the_worker_of_the_task_is_ended(
    memory: Slots, monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    task_id = new_id()
    as_worker(memory, monkeypatch, sleeper.pid, task_id)
    assert not memory.recall(new_id())
    assert sleeper.poll() is None
    assert memory.recall(task_id)
    assert sleeper.wait(10) == -9
    assert not memory.recall(task_id)


def test_a_worker_that_has_gone_on_to_another_task_is_left_alone(
    memory: Slots, monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    task_id = new_id()
    as_worker(memory, monkeypatch, sleeper.pid, task_id)
    memory.end(7)
    assert not memory.recall(task_id)
    assert not end_family(sleeper.pid, task_id, still=lambda: False)
    assert psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED
    assert sleeper.poll() is None


def test_a_task_that_was_recalled_is_not_begun(memory: Slots) -> None:
    doomed, kept = new_id(), new_id()
    assert not memory.recall(doomed)
    with pytest.raises(Recalled):
        memory.begin(0, doomed)
    memory.begin(0, kept)
    memory.end(0)


def test_the_oldest_recalls_are_forgotten_first(memory: Slots) -> None:
    ids = [new_id() for _ in range(300)]
    for task_id in ids:
        memory.recall(task_id)
    with pytest.raises(Recalled):
        memory.begin(1, ids[-1])
    memory.begin(1, ids[0])


@pytest.mark.parametrize("rank", [-1, 1024, 10**9])
def test_a_rank_beyond_the_memory_runs_without(memory: Slots, rank: int) -> None:
    memory.begin(rank, new_id())
    memory.end(rank)


@pytest.mark.parametrize("word", ["", "x", "ü" * 36, "\0" * 36, "\0" * 37])
def test_what_is_no_task_ends_nobody(memory: Slots, word: str) -> None:
    assert not memory.recall(word)


def test_a_child_joins_by_its_environment(memory: Slots) -> None:
    task_id = new_id()
    code = (
        "from chamberlain_endpoint.engine import slots\n"
        "memory, rank = slots.joined()\n"
        f"memory.begin(rank, '{task_id}')\n"
        "print(rank, flush=True)\n"
        "input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, slots.RANK_VARIABLE: "5"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"5\n"
        assert memory.recall(task_id)
        assert child.wait(10) == -9


def test_without_a_pool_there_is_nothing_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.RANK_VARIABLE, "1")
    monkeypatch.delenv(slots.VARIABLE, raising=False)
    assert slots.joined() is None
    monkeypatch.setenv(slots.VARIABLE, "/proc/1/fd/no such thing")
    assert slots.joined() is None


def test_who_was_started_for_the_task_goes_too_and_nobody_else() -> None:
    task_id = new_id()
    marked = subprocess.Popen(["sleep", "3600"], env={**os.environ, TASK_VARIABLE: task_id})
    root = subprocess.Popen(["sleep", "3600"])
    other = subprocess.Popen(["sleep", "3600"], env={**os.environ, TASK_VARIABLE: new_id()})
    try:
        assert end_family(root.pid, task_id)
        assert (root.wait(10), marked.wait(10)) == (-9, -9)
        assert other.poll() is None
    finally:
        for process in (marked, root, other):
            process.kill()
            process.wait()


LAUNCHER = """
import signal, sys, time
def end(*_):
    print("asked", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("patience_s", [0.0, 20.0])
def test_what_a_task_started_is_asked_to_end_only_where_there_is_patience(
    patience_s: float, sleeper: subprocess.Popen[bytes]
) -> None:
    task_id = new_id()
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER],
        env={**os.environ, TASK_VARIABLE: task_id},
        stdout=subprocess.PIPE,
        text=True,
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "ready\n"
        assert end_family(sleeper.pid, task_id, patience_s=patience_s)
        assert launcher.stdout.read() == ("asked\n" if patience_s else "")
    assert sleeper.wait(10) == -9


def test_what_is_left_of_a_task_whose_worker_died_is_ended() -> None:
    task_id = new_id()
    with subprocess.Popen(["sleep", "600"], env={**os.environ, TASK_VARIABLE: task_id}) as left:
        end_marked(new_id(), patience_s=20.0)
        assert left.poll() is None
        end_marked(task_id, patience_s=20.0)
        assert left.wait(10) == -15
