"""`chamberlain-hub audit`, and what the other commands leave in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chamberlain_hub.audit.entry import Action, Entry, Who
from chamberlain_hub.audit.log import AuditLog
from chamberlain_hub.config import HubSettings
from chamberlain_hub.main import cli

Run = Callable[..., Result]
ENDPOINT, TASK, OTHER_TASK = "e" * 36, "1" * 36, "2" * 36


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path: Path, data_dir: Path) -> Run:
    file = tmp_path / "hub.toml"
    file.write_text(f'data_dir = "{data_dir}"\n')

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--config", str(file), *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def written(run: Run, data_dir: Path) -> Path:
    """A log with a submission of alice's, the end of its task, and another's registration."""
    data_dir.mkdir(mode=0o700)
    log = AuditLog.of(HubSettings(data_dir=data_dir))
    log.start()
    functions = [{"id": "f" * 36, "sha256": "0" * 64, "tasks": [TASK, OTHER_TASK]}]
    log.note(
        Entry(
            action=Action.SUBMIT,
            outcome="accepted",
            who=Who(identity="i", username="alice@example.edu", source="192.0.2.1"),
            endpoint=ENDPOINT,
            functions=functions,
        ),
        Entry(action=Action.TASKS_ENDED, outcome="success", who=Who(identity="i"), tasks=[TASK]),
        Entry(action=Action.ENDPOINT_REGISTERED, outcome="accepted", who=Who(username="bob@x.org")),
    )
    log.stop()
    return data_dir / "audit.log"


def lines(run: Run, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("audit", "show", "--json", *arguments).stdout)[
        "lines"
    ]
    return found


def test_making_and_revoking_tokens_is_noted_without_the_token(run: Run, data_dir: Path) -> None:
    run("user", "add", "alice@example.edu")
    made = json.loads(run("token", "create", "alice@example.edu", "--json").stdout)
    run("token", "revoke", made["id"])
    run("user", "remove", "alice@example.edu", "--yes")
    found = lines(run)
    assert [one["action"] for one in found] == [
        "identity-made",
        "token-made",
        "token-revoked",
        "identity-removed",
    ]
    assert found[1]["about"] == found[2]["about"] == made["id"]
    assert all(one["operator"] for one in found)
    assert made["token"] not in (data_dir / "audit.log").read_text()


def test_a_token_that_cannot_be_noted_is_not_shown(run: Run, data_dir: Path) -> None:
    run("user", "add", "alice@example.edu")
    (data_dir / "audit.log.head").unlink()
    (data_dir / "audit.log.head").mkdir()
    refused = run("token", "create", "alice@example.edu", code=1)
    assert refused.stdout == ""
    assert "audit log" in refused.stderr


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ((), 3),
        (("--task", TASK), 2),
        (("--task", OTHER_TASK), 1),
        (("--user", "alice@example.edu"), 1),
        (("--user", "i"), 2),
        (("--endpoint", ENDPOINT), 1),
        (("--since", "1h"), 3),
        (("--since", "2100-01-01"), 0),
        (("--user", "i", "--endpoint", ENDPOINT), 1),
    ],
)
def test_lines_are_chosen(run: Run, written: Path, chosen: tuple[str, ...], count: int) -> None:
    assert len(lines(run, *chosen)) == count
    assert len(run("audit", "export", *chosen).stdout.splitlines()) == count
    assert len(run("audit", "show", *chosen).stdout.splitlines()) == count


def test_a_moment_that_is_none_is_a_wrong_argument(run: Run, written: Path) -> None:
    assert "neither a time" in run("audit", "show", "--since", "yesterday", code=2).stderr


def test_an_export_is_the_lines_themselves(run: Run, written: Path) -> None:
    assert run("audit", "export").stdout == written.read_text()


def test_verify_tells_whether_it_is_whole(run: Run, written: Path) -> None:
    assert "whole, 3 lines in 1 file" in run("audit", "verify").stdout
    assert json.loads(run("audit", "verify", "--json").stdout)["lines"] == 3
    written.write_text(written.read_text().replace("192.0.2.1", "192.0.2.2"))
    assert "line 2 does not follow" in run("audit", "verify", code=1).stderr


def test_without_a_log_it_says_what_to_do(run: Run) -> None:
    for command in ("verify", "show", "export"):
        assert "start the hub once" in run("audit", command, code=1).stderr
