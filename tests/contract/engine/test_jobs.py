"""The promises of `engine.port.Engine`, kept by threads, processes and Parsl's executor."""

from __future__ import annotations

import base64
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.engine.conftest import (
    ALL,
    CONFIGS,
    OWN_PROCESSES,
    Running,
)

from chamberlain_endpoint.engine.port import (
    Job,
    JobRefusedError,
    Rules,
)
from chamberlain_wire.details import exception_of, usage_of
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.limits import MAX_RESULT_BYTES
from chamberlain_wire.serialize import (
    pack_payload,
    unpack_exception,
)


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
    used = usage_of(result)
    assert used is not None
    assert used.cpu_s >= 0
    assert began.timestamp / 1e9 == used.started_at <= used.ended_at
    assert used.max_rss_bytes > 1_000_000
    assert used.hostname == platform.node()
    # The public SDK warns of any field of the message that it does not know.
    assert result.usage is None
    assert result.exception is None


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
    error = unpack_exception(exception_of(result))
    assert isinstance(error, ValueError)
    assert error.args == ("too hot",)


def needs_what_is_not_there() -> None:
    import no_such_package.deep  # noqa: F401


@ALL
def test_a_missing_module_is_told_with_the_python_that_lacks_it(running: Running) -> None:
    result = running.fail(needs_what_is_not_there)
    assert result.error_details is not None
    assert result.error_details.user_message.startswith("ModuleNotFoundError")
    last = result.data.splitlines()[-1]
    assert last.startswith("The module 'no_such_package' is missing in Python ")
    assert f"({sys.executable}) on {platform.node()}" in last
    assert "worker_init" in last


def packed_attribute(module: str, name: str) -> str:
    """Return a task whose function is found by its name, which is not there."""
    data = base64.b64encode(f"c{module}\n{name}\n.".encode()).decode()
    code = f"01\n{data}"
    return f"{len(code)}\n{code}" + pack_payload((), {})


@ALL
@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("no_such_package", "The module 'no_such_package' is missing in Python "),
        ("msgspec", "The module 'msgspec' (version "),
    ],
)
def test_a_function_that_cannot_be_loaded_names_module_and_python(
    running: Running, module: str, told: str
) -> None:
    running.await_capacity()
    running.submit_buffer(packed_attribute(module, "no_such_name"))
    result = running.result()
    assert result.error_details is not None
    assert result.error_details.code == "SERIALIZATION"
    last = result.data.splitlines()[-1]
    assert last.startswith(told), result.data
    assert f"({sys.executable})" in last


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
