"""The `chamberlain` command, in a process of its own, against the stand-in hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.sdk.command_line import Shell
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub, error

from chamberlain import Client, Executor
from chamberlain_wire.ids import new_id

pytestmark = pytest.mark.needs_rabbit


def test_whoami_names_the_identity(shell: Shell) -> None:
    done = shell.run("whoami")
    assert done.returncode == 0
    assert "alice@example.edu" in done.stdout
    assert json.loads(shell.run("whoami", "--json").stdout)["name"] == "Alice"


def test_endpoints_are_listed_with_their_status(shell: Shell) -> None:
    done = shell.run("endpoints")
    assert done.stdout.splitlines() == [
        "ENDPOINT                              STATUS  NAME",
        f"{ENDPOINT}  online  Lab cluster",
    ]


def test_tasks_can_be_none(shell: Shell) -> None:
    assert shell.run("tasks").stdout == "No tasks.\n"
    assert json.loads(shell.run("tasks", "--json").stdout) == []


def test_run_prints_what_the_function_returns(shell: Shell) -> None:
    done = shell.run("run", "work.py:add", ENDPOINT, "--arg", "2", "--kwarg", "right=3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_run_takes_the_endpoints_name_and_text_arguments(shell: Shell) -> None:
    done = shell.run("run", "work.py:add", "Lab cluster", "--arg", "a", "--kwarg", "right=b")
    assert (done.returncode, done.stdout) == (0, "ab\n")


def test_run_sends_the_options(shell: Shell, hub: StandInHub) -> None:
    (shell.folder / "options.json").write_text('{"partition": "gpu"}')
    shell.run("run", "work.py:add", ENDPOINT, "--arg", "1", "--config", "@options.json")
    assert hub.submits[0][1]["user_endpoint_config"] == {"partition": "gpu"}


def test_a_failing_function_exits_with_1_and_shows_the_remote_traceback(shell: Shell) -> None:
    done = shell.run("run", "work.py:fail", ENDPOINT)
    assert done.returncode == 1
    assert "ValueError: on purpose" in done.stderr
    assert "in fail" in done.stderr
    told = json.loads(shell.run("run", "work.py:fail", ENDPOINT, "--json").stdout)
    assert told["result"] is None
    assert "on purpose" in told["error"]


def test_a_refusal_is_one_line_and_exit_1(shell: Shell, hub: StandInHub) -> None:
    hub.answers.append((422, error(422, "SEMANTICALLY_INVALID", "Identity failed to map")))
    done = shell.run("run", "work.py:add", ENDPOINT, "--arg", "1")
    assert (done.returncode, done.stderr) == (1, "Identity failed to map\n")
    hub.unauthorized = True
    done = shell.run("whoami")
    assert done.returncode == 1
    assert done.stderr.startswith("chamberlain: Token is not valid. Get a new token")


def test_a_result_that_is_no_json_is_shown_as_python(shell: Shell) -> None:
    assert shell.run("run", "work.py:odd_result", ENDPOINT).stdout == "{1, 2}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "work.py", ENDPOINT], "give FILE:FUNCTION"),
        (["run", "absent.py:f", ENDPOINT], "there is no file 'absent.py'"),
        (["run", "work.py:nothing", ENDPOINT], "it has add, fail, loud, odd_result"),
        (["run", "work.py:add", ENDPOINT, "--config", "{"], "--config is no JSON"),
        (["run", "work.py:add", ENDPOINT, "--config", "[]"], "must be a JSON object"),
        (["run", "work.py:add", ENDPOINT, "--kwarg", "1=2"], "is not NAME=JSON"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_how(
    shell: Shell, arguments: list[str], told: str
) -> None:
    done = shell.run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_an_unknown_endpoint_name_is_told(shell: Shell) -> None:
    done = shell.run("run", "work.py:add", "elsewhere", "--arg", "1")
    assert done.returncode == 1
    assert "no endpoint is called 'elsewhere'" in done.stderr


def test_a_run_that_takes_too_long_names_its_task(shell: Shell, hub: StandInHub) -> None:
    hub.go.clear()
    done = shell.run("run", "work.py:add", ENDPOINT, "--arg", "1", "--timeout", "0.5")
    hub.go.set()
    assert done.returncode == 1
    assert f"task {next(iter(hub.documents))} goes on" in done.stderr


def test_missing_settings_are_told(shell: Shell) -> None:
    del shell.environment["CHAMBERLAIN_TOKEN"]
    done = shell.run("whoami")
    assert done.returncode == 1
    assert "set CHAMBERLAIN_TOKEN" in done.stderr


def test_help_teaches_and_completion_works(shell: Shell) -> None:
    assert "chamberlain run hello.py:hello ENDPOINT" in shell.run("--help").stdout
    assert "_CHAMBERLAIN_COMPLETE=bash_source" in shell.run("--help").stdout


def test_the_example_runs(shell: Shell) -> None:
    example = Path(__file__).parents[3] / "examples" / "hello.py"
    done = subprocess.run(
        [sys.executable, str(example), ENDPOINT],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)["uid"] == os.getuid()


def test_cancel_names_what_becomes_of_each_task(shell: Shell, hub: StandInHub) -> None:
    hub.go.clear()
    with Executor(ENDPOINT, Client(hub.url, TOKEN)) as executor:
        first = executor.submit(abs, -1)
        assert hub.accepted.acquire(timeout=30)
        second = executor.submit(abs, -2)
        assert hub.accepted.acquire(timeout=30)
        done = shell.run("cancel", first.task_id, new_id())
        assert done.returncode == 1
        assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == [
            "cancelled",
            "unknown",
        ]
        done = shell.run("cancel", "--group", executor.task_group_id, "--json")
        assert done.returncode == 0
        assert json.loads(done.stdout) == {
            first.task_id: "cancelled",
            second.task_id: "cancelled",
        }
        for future in (first, second):
            hub.tell_cancelled(executor.task_group_id, future.task_id)
        hub.go.set()
    assert shell.run("cancel").returncode == 2
