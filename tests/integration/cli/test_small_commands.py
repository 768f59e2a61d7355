"""Exit codes and `--json` of the commands that look at little, from a pipe and a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Run

FUNCTION = "7a3b0c1e-5f7d-4c7e-9d21-0d6b4f1a2c33"


def test_pam_service_prints_the_file_to_pipe_and_terminal(run: Run, run_on_terminal: Run) -> None:
    told = run("pam-service", "--json").document
    assert told["path"].startswith("/etc/pam.d/")
    piped, seen = run("pam-service"), run_on_terminal("pam-service")
    assert (piped.code, piped.out) == (0, told["text"])
    assert (seen.code, seen.out.replace("\r\n", "\n")) == (0, told["text"])


def test_functions_show_says_that_the_hub_is_away(cluster: Path, run: Run) -> None:
    ran = run("functions", "show", "cluster", FUNCTION, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads(ran.err)["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("functions", "show"),
        ("image", "install"),
        ("image", "remove"),
        ("import",),
        ("pam-service", "too-much"),
        ("stop", "--remote"),
    ],
)
def test_what_is_not_whole_is_2_and_says_what_is_missing(words: tuple[str, ...], run: Run) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: chamberlain-endpoint" in ran.err
