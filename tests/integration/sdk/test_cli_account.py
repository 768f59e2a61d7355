"""`chamberlain login`, `logout`, `functions`, `result`: from a pipe and from a terminal."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sdk.command_line import Shell
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub

pytestmark = pytest.mark.needs_rabbit


@pytest.fixture
def newcomer(shell: Shell) -> Shell:
    """Somebody who has told nothing yet."""
    del shell.environment["CHAMBERLAIN_HUB_URL"], shell.environment["CHAMBERLAIN_TOKEN"]
    return shell


def kept(shell: Shell) -> dict[str, Any]:
    file = shell.folder / ".config/chamberlain/config.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["config.toml"]
    return tomllib.loads(file.read_text())


def test_login_from_a_pipe_keeps_address_and_token(newcomer: Shell, hub: StandInHub) -> None:
    done = newcomer.run("login", hub.url + "/", stdin=f"{TOKEN}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("You are alice@example.edu at ")
    assert kept(newcomer) == {"hub_url": hub.url, "token": TOKEN}
    assert newcomer.run("whoami").returncode == 0
    # The second time the address is known.
    told = json.loads(newcomer.run("login", "--json", stdin=TOKEN).stdout)
    assert told["username"] == "alice@example.edu"
    assert TOKEN not in str(told)


def test_login_at_a_terminal_asks_and_does_not_show_the_token(
    newcomer: Shell, hub: StandInHub
) -> None:
    answers = {"Address of the hub": hub.url, "Token (it is not shown)": TOKEN}
    code, shown = newcomer.command_at_terminal("login", **answers)
    assert code == 0, shown
    assert "You are alice@example.edu" in shown
    assert TOKEN not in shown
    assert kept(newcomer) == {"hub_url": hub.url, "token": TOKEN}


def test_a_token_that_the_hub_refuses_is_not_kept(newcomer: Shell, hub: StandInHub) -> None:
    done = newcomer.run("login", hub.url, stdin="chp_wrong\n")
    assert done.returncode == 1
    assert done.stderr.startswith("chamberlain: Token is not valid.")
    assert not (newcomer.folder / ".config").exists()


def test_login_mends_the_mode_and_keeps_the_rest(newcomer: Shell, hub: StandInHub) -> None:
    file = newcomer.folder / ".config/chamberlain/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('ca_file = "/etc/own \\"ca\\".pem"\ntoken = "old"\n')
    file.chmod(0o644)
    assert newcomer.run("logout").returncode == 0
    assert kept(newcomer) == {"ca_file": '/etc/own "ca".pem'}


def test_the_environment_that_wins_is_told(shell: Shell, hub: StandInHub) -> None:
    done = shell.run("login", stdin=TOKEN)
    assert done.returncode == 0
    assert "CHAMBERLAIN_TOKEN is set, and wins over the file" in done.stderr


def test_logout_forgets_the_token_and_can_be_repeated(newcomer: Shell, hub: StandInHub) -> None:
    newcomer.run("login", hub.url, stdin=TOKEN)
    assert json.loads(newcomer.run("logout", "--json").stdout)["removed"] is True
    assert kept(newcomer) == {"hub_url": hub.url}
    again = newcomer.run("logout")
    assert (again.returncode, again.stdout[:18]) == (0, "There was no token")
    assert "chamberlain login" in newcomer.run("whoami").stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (["login"], TOKEN, "give the address of the hub"),
        (["login", "http://127.0.0.1:1"], "\n", "no token came on standard input"),
        (["result"], "", "Missing argument 'TASK'"),
    ],
)
def test_what_is_missing_exits_with_2(
    newcomer: Shell, arguments: list[str], stdin: str, told: str
) -> None:
    done = newcomer.run(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert told in done.stderr


def test_functions_are_listed(shell: Shell, hub: StandInHub) -> None:
    assert shell.run("functions").stdout == "No functions.\n"
    shell.run("run", "work.py:add", ENDPOINT, "--arg", "1")
    (function,) = hub.functions
    assert shell.run("functions").stdout.splitlines()[1].split() == [function, "add", "you"]
    assert json.loads(shell.run("functions", "--json").stdout)[0]["function_name"] == "add"


def test_results_of_earlier_tasks_are_shown(shell: Shell, hub: StandInHub) -> None:
    for name in ("work.py:odd_result", "work.py:fail"):
        shell.run("run", name, ENDPOINT)
    good, bad = hub.documents
    done = shell.run("result", good)
    assert (done.returncode, done.stdout) == (0, "{1, 2}\n")
    done = shell.run("result", bad)
    assert done.returncode == 1
    assert "ValueError: on purpose" in done.stderr
    told = json.loads(shell.run("result", bad, "--json").stdout)
    assert (told["status"], told["result"]) == ("failed", None)


def test_a_task_that_has_not_ended_says_so(shell: Shell, hub: StandInHub) -> None:
    hub.go.clear()
    shell.run("run", "work.py:add", ENDPOINT, "--arg", "1", "--timeout", "0.5")
    done = shell.run("result", next(iter(hub.documents)))
    hub.go.set()
    assert done.returncode == 1
    assert "has not ended yet; it is waiting-for-ep" in done.stderr


def test_colours_and_bars_are_for_terminals_only(shell: Shell, tmp_path: Path) -> None:
    assert "\x1b" not in shell.run("endpoints").stdout
    code, shown = shell.command_at_terminal("endpoints")
    assert code == 0
    assert "\x1b[1mENDPOINT" in shown
    script = (
        "import sys, chamberlain\n"
        "with chamberlain.Executor(sys.argv[1]) as executor:\n"
        "    futures = [executor.submit(divmod, 7, n) for n in range(3)]\n"
        "    done = chamberlain.as_completed(futures, progress=True)\n"
        "    print(sorted(one.exception() is None for one in done))\n"
    )
    code, shown = shell.at_terminal(script, ENDPOINT, answers={})
    assert code == 0
    assert "[False, True, True]" in shown
    assert "3/3" in shown
    assert "1 failed" in shown
