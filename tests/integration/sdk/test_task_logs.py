"""What a task prints, from Python and from the command line; and lines of remote tracebacks."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from tests.integration.sdk.command_line import Shell
from tests.integration.sdk.stand_in import ENDPOINT, StandInHub

from chamberlain import (
    Client,
    Executor,
    NotFoundError,
    TaskExecutionFailed,
    TaskLogs,
    TaskTimeoutError,
    VersionMismatchWarning,
)
from chamberlain_wire.details import PROTOCOL
from chamberlain_wire.ids import new_id

pytestmark = pytest.mark.needs_rabbit

WAIT_S = 30.0


def loud(word: str) -> str:
    import sys

    print("out", word)
    print("err", word, file=sys.stderr)
    return word


def loud_and_wrong() -> None:
    print("last words")
    raise KeyError("gone")  # this very line


def test_a_future_has_what_its_task_printed(executor: Executor, client: Client) -> None:
    future = executor.submit(loud, "one")
    logs = future.logs(WAIT_S)
    assert logs == TaskLogs(task_id=future.task_id, stdout="out one\n", stderr="err one\n")
    assert str(logs) == "out one\nerr one\n"
    assert client.get_task_logs(future.task_id) == logs
    with pytest.raises(NotFoundError):
        client.get_task_logs(new_id())


def test_a_failed_task_has_its_last_words_and_the_line_that_failed(executor: Executor) -> None:
    future = executor.submit(loud_and_wrong)
    error = future.exception(WAIT_S)
    assert isinstance(error, KeyError)
    assert future.logs().stdout == "last words\n"
    remote = error.__cause__
    assert isinstance(remote, TaskExecutionFailed)
    assert 'raise KeyError("gone")  # this very line' in remote.remote_traceback
    assert set(remote.details) == {"hostname", "python_version"}


def test_what_did_not_come_with_the_result_is_asked_of_the_hub(
    executor: Executor, hub: StandInHub
) -> None:
    hub.result_has_output = False
    assert executor.submit(loud, "one").logs(WAIT_S).stdout == "out one\n"


def test_a_time_limit_is_an_error_of_its_own(client: Client) -> None:
    from chamberlain.outcomes import from_rest, value_of

    document = {
        "task_id": new_id(),
        "status": "failed",
        "exception": "The task took longer than 5 s, the limit of this endpoint (...).",
        "error_details": {"code": "TASK_TIMEOUT", "user_message": "..."},
    }
    result = from_rest(document)
    assert result is not None
    with pytest.raises(TaskTimeoutError, match="longer than 5 s"):
        value_of(result, client.serializer)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"dill_version": "0.2.9"}, r"has dill 0\.2\.9, and here is dill "),
        (
            {"protocol": PROTOCOL + 1, "chamberlain_version": "9.1"},
            r"has Chamberlain 9\.1 .* upgrade Chamberlain here",
        ),
    ],
)
def test_other_versions_over_there_are_told_once(
    executor: Executor, hub: StandInHub, facts: dict[str, Any], told: str
) -> None:
    hub.worker_facts = facts
    executor.submit(loud, "one").result(WAIT_S)
    with pytest.warns(VersionMismatchWarning, match=told):
        executor.submit(loud, "two").result(WAIT_S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        executor.submit(loud, "three").result(WAIT_S)


def test_run_shows_what_the_function_prints_on_standard_error(shell: Shell) -> None:
    done = shell.run("run", "work.py:loud", ENDPOINT)
    assert (done.returncode, done.stdout) == (0, "quiet\n")
    assert done.stderr == "to its output\nto its error\n"
    done = shell.run("run", "work.py:loud", ENDPOINT, "--arg", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("to its output\nto its error\n")
    assert 'raise ValueError("on purpose")' in done.stderr
    answer = json.loads(shell.run("run", "work.py:loud", ENDPOINT, "--json").stdout)
    assert answer["printed"] == "to its output\nto its error\n"


def test_logs_shows_each_stream_where_it_belongs(shell: Shell) -> None:
    task = json.loads(shell.run("run", "work.py:loud", ENDPOINT, "--json").stdout)["task_id"]
    done = shell.run("logs", task)
    assert (done.returncode, done.stdout, done.stderr) == (0, "to its output\n", "to its error\n")
    done = shell.run("logs", task, "--stdout")
    assert (done.stdout, done.stderr) == ("to its output\n", "")
    done = shell.run("logs", task, "--stderr")
    assert (done.stdout, done.stderr) == ("to its error\n", "")
    told = json.loads(shell.run("logs", task, "--json").stdout)
    assert (told["captured"], told["stdout"], told["stderr_cut_bytes"]) == (
        True,
        "to its output\n",
        0,
    )


def test_logs_says_why_there_is_nothing(shell: Shell, hub: StandInHub) -> None:
    task = new_id()
    nothing = {"text": "", "cut_bytes": 0}
    hub.logs[task] = {
        "task_id": task,
        "captured": False,
        "reason": "This endpoint does not capture what functions print.",
        "stdout": nothing,
        "stderr": nothing,
    }
    done = shell.run("logs", task)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This endpoint does not capture what functions print.\n"
    assert json.loads(shell.run("logs", task, "--json").stdout)["captured"] is False
    unknown = shell.run("logs", new_id())
    assert (unknown.returncode, "There is no task" in unknown.stderr) == (1, True)
    garbage = shell.run("logs", "garbage")
    assert (garbage.returncode, len(garbage.stderr.splitlines())) == (1, 1)


def test_logs_tells_what_was_cut_off(shell: Shell, hub: StandInHub) -> None:
    task = new_id()
    hub.logs[task] = {
        "task_id": task,
        "captured": True,
        "reason": "",
        "stdout": {"text": "the end\n", "cut_bytes": 1234},
        "stderr": {"text": "", "cut_bytes": 0},
    }
    done = shell.run("logs", task)
    assert done.stdout == "the end\n"
    assert done.stderr == "[standard output: 1234 bytes before this were cut off]\n"


def test_a_failed_tasks_result_points_to_its_logs(shell: Shell) -> None:
    done = shell.run("run", "work.py:loud", ENDPOINT, "--arg", "1", "--json")
    task = json.loads(done.stdout)["task_id"]
    done = shell.run("result", task)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"What it printed: chamberlain logs {task}"


def test_at_a_terminal_the_output_is_shown_as_it_was(shell: Shell) -> None:
    code, shown = shell.at_terminal(
        "from chamberlain.cli import main; main()", "run", "work.py:loud", ENDPOINT, answers={}
    )
    assert code == 0
    assert shown.splitlines() == ["to its output", "to its error", "quiet"]


def test_usage_is_listed(shell: Shell, hub: StandInHub) -> None:
    used = {
        "started_at": 1000.0,
        "ended_at": 1002.5,
        "cpu_s": 1.25,
        "max_rss_bytes": 50 * 1024 * 1024,
        "hostname": "node5",
        "job_id": "4242",
    }
    hub.listed = [
        {"task_id": "t1", "state": "success", "function_name": "fit", "usage": used},
        {"task_id": "t2", "state": "waiting-for-ep", "function_name": "fit", "usage": None},
    ]
    heads, first, second = shell.run("tasks", "--usage").stdout.splitlines()
    assert heads.split()[3:] == ["STARTED", "TOOK", "CPU", "MEMORY", "NODE", "JOB"]
    assert first.endswith("2.50 s  1.25 s  50 MiB  node5  4242")
    assert second.split() == ["t2", "waiting-for-ep", "fit"]
    assert json.loads(shell.run("tasks", "--usage", "--json").stdout)[0]["usage"] == used
