"""What a task prints comes with its result, on every engine, bounded, and nobody else's."""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.engine.conftest import ALL, OWN_PROCESSES, Running

from chamberlain_wire.details import Output, output_of
from chamberlain_wire.limits import TASK_OUTPUT_BYTES


def printed(running: Running, function: Callable[..., Any], *args: Any, **rules: Any) -> Output:
    running.await_capacity()
    task_id = running.submit(function, *args, **rules)
    result = running.result()
    assert result.task_id == task_id
    found = output_of(result)
    assert found is not None
    return found


def say(word: str) -> None:
    print("out", word)
    print("err", word, file=sys.stderr)
    sys.stdout.buffer.write("bytes ä\n".encode())


@ALL
def test_what_a_function_prints_comes_with_its_result(running: Running) -> None:
    found = printed(running, say, "one")
    assert sorted(found.stdout.text.splitlines()) == ["bytes ä", "out one"]
    assert (found.stderr.text, found.stdout.cut_bytes) == ("err one\n", 0)


def say_nothing() -> None:
    pass


@ALL
def test_a_task_that_prints_nothing_has_nothing_of_the_one_before(running: Running) -> None:
    for _ in range(2):
        printed(running, say, "before")
    assert printed(running, say_nothing) == Output()


def say_and_fail() -> None:
    print("before the end")
    raise ValueError("on purpose")


@ALL
def test_what_was_printed_before_a_failure_is_there(running: Running) -> None:
    assert printed(running, say_and_fail).stdout.text == "before the end\n"


def say_much(bytes_of_it: int) -> None:
    print("first", "ä" * (bytes_of_it // 2), "last")


@ALL
def test_of_much_output_the_end_is_kept_and_the_rest_counted(running: Running) -> None:
    size = len("first  last\n") + 2_000_000
    found = printed(running, say_much, 2_000_000)
    assert found.stdout.text.startswith("ä")
    assert found.stdout.text.endswith("ä last\n")
    kept = len(found.stdout.text.encode())
    assert TASK_OUTPUT_BYTES - 3 <= kept <= TASK_OUTPUT_BYTES
    assert found.stdout.cut_bytes + kept == size


@ALL
def test_as_much_is_kept_as_the_site_wants(running: Running) -> None:
    found = printed(running, say, "one", output_bytes=4)
    assert (found.stderr.text, found.stderr.cut_bytes) == ("one\n", 4)
    off = printed(running, say, "one", output_bytes=0)
    assert off == Output(captured=False)


def say_beside(names: list[str]) -> list[int]:
    def loud(name: str) -> None:
        print(name)

    others = [threading.Thread(target=loud, args=(name,)) for name in names]
    for one in others:
        one.start()
    for one in others:
        one.join()
    return [sys.stdout.fileno(), sys.stderr.fileno()]


@ALL
def test_streams_keep_their_descriptors_and_threads_may_print(running: Running) -> None:
    assert running.call(say_beside, ["a"]) == [1, 2]


def wait_and_say(word: str) -> None:
    for _ in range(50):
        print(word)
        time.sleep(0.001)


@ALL
def test_tasks_side_by_side_have_each_their_own(running: Running) -> None:
    running.await_capacity()
    ids = {running.submit(wait_and_say, word): word for word in ("left", "right")}
    for _ in ids:
        result = running.result()
        output = output_of(result)
        assert output is not None
        assert set(output.stdout.text.split()) == {ids[result.task_id]}  # type: ignore[index]


def close_them() -> None:
    print("last words")
    sys.stdout.close()


@pytest.mark.parametrize("running", ["threads"], indirect=True)
def test_a_thread_that_closes_its_output_closes_nobodys(running: Running) -> None:
    assert printed(running, close_them).stdout.text == "last words\n"
    assert printed(running, say, "again").stderr.text == "err again\n"
    print("this process still prints")


def say_from_below() -> None:
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    os.write(1, b"from the descriptor\n")
    subprocess.run(["/bin/sh", "-c", "echo from a child; echo its error >&2"], check=True)


@OWN_PROCESSES
def test_c_code_and_child_processes_are_caught(running: Running) -> None:
    found = printed(running, say_from_below)
    assert sorted(found.stdout.text.splitlines()) == [
        "from C",
        "from a child",
        "from the descriptor",
    ]
    assert found.stderr.text == "its error\n"


def no_op() -> None:
    pass


@pytest.mark.slow
def test_what_it_costs_is_far_below_a_round_trip(own: Callable[..., Running]) -> None:
    """A warm round trip has a median of 16 ms; a task may cost 1 ms more at most here."""
    one = own("processes", max_workers=1)
    one.call(no_op)

    def median_s(**rules: Any) -> float:
        took = []
        for _ in range(200):
            began = time.perf_counter()
            one.call(no_op, **rules)
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    without, with_it = median_s(output_bytes=0), median_s()
    assert with_it - without < 0.001, (without, with_it)
