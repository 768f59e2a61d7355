"""Every command of the program, from a pipe and on a terminal: the same end, the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
import pytest
from tests.integration.cli.conftest import Run

from chamberlain_endpoint.cli.group import PLACES
from devtools import manpages

FUNCTION: Final = "7a3b0c1e-5f7d-4c7e-9d21-0d6b4f1a2c33"
DIGEST: Final = "sha256:" + "0" * 64

# command: what follows it, and its exit code where an endpoint `cluster` is configured, its hub
# is away, nothing runs, and there is no endpoint `nowhere`.
CASES: Final = {
    "audit export": (["cluster"], 1),
    "audit show": (["cluster"], 1),
    "audit verify": (["cluster"], 1),
    "backup": (["nowhere", "backup.tar"], 1),
    "check-config": (["cluster"], 0),
    "completion": (["bash"], 0),
    "configure": (["cluster"], 2),
    "delete": (["nowhere", "--yes"], 1),
    "diagnostic": (["nowhere"], 1),
    "disable-on-boot": (["nowhere"], 1),
    "doctor": (["cluster"], 1),
    "drain": (["nowhere"], 1),
    "enable-on-boot": (["nowhere"], 1),
    "functions show": (["cluster", FUNCTION], 1),
    "image install": (["nothing.tar"], 2),
    "image list": ([], 0),
    "image remove": ([DIGEST], 1),
    "import": (["no-folder"], 2),
    "lint": (["cluster"], 0),
    "list": ([], 0),
    "login": (["nowhere"], 2),
    "logout": (["nowhere"], 1),
    "pam-service": ([], 0),
    "render-user-config": (["-e", "cluster"], 0),
    "reset-breaker": (["cluster"], 0),
    "restart": (["nowhere"], 1),
    "restore": (["another", "nothing.tar"], 1),
    "resume": (["nowhere"], 1),
    "start": (["nowhere"], 1),
    "stop": (["nowhere"], 1),
    "trust": (["nowhere"], 2),
    "user-endpoints list": (["cluster"], 1),
    "user-endpoints logs": (["cluster", FUNCTION], 1),
    "user-endpoints stop": (["cluster", FUNCTION], 1),
    "validate-mapping": (["cluster", "-u", "nobody@one.example"], 1),
    "version": ([], 0),
    "whoami": (["cluster"], 1),
}


def test_no_command_is_left_out() -> None:
    group = manpages.PROGRAMS["chamberlain-endpoint"]
    context = click.Context(group, info_name="chamberlain-endpoint")
    leaves = {
        " ".join(path)
        for path, command, _ in manpages.commands(group, context)
        if not isinstance(command, click.Group)
    }
    assert leaves == CASES.keys()
    # The names that the group tells, before it has loaded what they stand for.
    assert set(PLACES) == set(group.commands) == {leaf.split()[0] for leaf in leaves}


@pytest.mark.parametrize("command", CASES)
def test_pipe_and_terminal_hear_the_same(
    command: str, cluster: Path, run: Run, run_on_terminal: Run
) -> None:
    words, code = CASES[command]
    piped = run(*command.split(), *words, "--json")
    seen = run_on_terminal(*command.split(), *words)
    assert (piped.code, seen.code) == (code, code), (piped, seen)
    assert "Traceback" not in piped.err + seen.out
    if piped.out:
        assert isinstance(piped.document, (dict, list))
        assert seen.out
    elif code == 2:
        assert _words(piped.err) in _words(seen.out)
    else:
        message = json.loads(piped.err)["error"]["message"]
        assert _words(message) in _words(seen.out)


def _words(text: str) -> str:
    return " ".join(text.split())
