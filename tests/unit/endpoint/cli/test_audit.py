"""`chamberlain-endpoint audit`, on a log that the launcher's own code wrote."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chamberlain_endpoint.cli.audit import audit, parse_since, syslog_line
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.launcher.audit import AuditLog, Entry
from chamberlain_endpoint.launcher.settings import AuditSettings

HOSTILE = 'x"]\n<0>1 forged'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An endpoint's folder with a log over several files."""
    place = tmp_path / "cluster"
    (place / "state").mkdir(parents=True)
    values = {
        "mode": "single",
        "endpoint_id": "00000000-0000-4000-8000-00000000e4d0",
        "owner_identity": "00000000-0000-4000-8000-00000000a11c",
        "socket": str(place / "launcher.sock"),
        "state_dir": str(place / "state"),
        "accounts_dir": str(place / "accounts"),
    }
    lines = [f'{name} = "{value}"' for name, value in values.items()]
    key = base64.b64encode(bytes(32)).decode()
    (place / "launcher.toml").write_text("\n".join([*lines, f'hub_keys = ["{key}"]']))
    (place / "launcher.toml").chmod(0o600)
    log = AuditLog(place / "state" / "audit.log", AuditSettings(max_bytes=600))
    log.open()
    log.note(Entry("launch", "granted", username="alice@x", account="alice", source="192.0.2.7"))
    log.note(Entry("launch", "refused", username="bob@x", code="ACCOUNT_REFUSED", reason=HOSTILE))
    log.note(Entry("ended", "noted", username="alice@x", account="alice", outcome="clean"))
    log.close()
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(audit, [*arguments, "-c", str(folder)])


def test_a_whole_log_is_said_to_be_whole(folder: Path) -> None:
    done = run(folder, "verify", "cluster")
    assert done.exit_code == 0
    assert "whole, 3 lines" in done.output
    found = json.loads(run(folder, "verify", "cluster", "--json").output)
    assert (found["whole"], found["lines"]) == (True, 3)


def test_a_broken_log_is_named_with_its_first_broken_line(folder: Path) -> None:
    log = folder / "cluster" / "state" / "audit.log"
    log.write_bytes(log.read_bytes()[:-60])
    done = run(folder, "verify", "cluster")
    assert done.exit_code == 1
    assert isinstance(done.exception, CommandFailedError)
    assert "audit.log" in done.exception.public


def test_what_is_shown_can_be_chosen(folder: Path) -> None:
    def shown(*filters: str) -> list[str]:
        document = json.loads(run(folder, "show", "cluster", "--json", *filters).output)
        return [f"{line['action']} {line['username']}" for line in document["lines"]]

    assert shown() == ["launch alice@x", "launch bob@x", "ended alice@x"]
    assert shown("--user", "bob@x") == ["launch bob@x"]
    assert shown("--account", "alice") == ["launch alice@x", "ended alice@x"]
    assert shown("--since", "1h") == shown()
    assert shown("--since", "2999-01-01") == []


def test_a_line_for_people_stays_one_line(folder: Path) -> None:
    lines = run(folder, "show", "cluster").output.splitlines()
    assert len(lines) == 3
    assert "from 192.0.2.7 as alice" in lines[0]
    assert "clean" in lines[2]


def test_an_export_holds_the_lines_as_they_are(folder: Path) -> None:
    exported = run(folder, "export", "cluster").output.encode()
    state = folder / "cluster" / "state"
    files = [*sorted(state.glob("audit.log.[0-9]*")), state / "audit.log"]
    assert exported == b"".join(file.read_bytes() for file in files)


def test_an_export_has_one_form(folder: Path) -> None:
    assert run(folder, "export", "cluster", "--json", "--format", "syslog").exit_code == 2
    assert len(run(folder, "export", "cluster", "--json").output.splitlines()) == 3


def test_a_syslog_message_cannot_be_forged_from_a_name(folder: Path) -> None:
    lines = run(folder, "export", "cluster", "--format", "syslog").output.splitlines()
    assert [line[:5] for line in lines] == ["<110>", "<108>", "<110>"]
    line = syslog_line({"at": "2026-11-22T00:00:00.000+00:00", "reason": HOSTILE}, "login1")
    assert line == (
        "<110>1 2026-11-22T00:00:00.000+00:00 login1 chamberlain - - "
        r'[chamberlain@32473 reason="x\"\]\n<0>1 forged"]'
    )


def test_a_time_is_a_moment_or_so_long_ago() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert parse_since("90m", now) == now - timedelta(minutes=90)
    assert parse_since("2026-11-22", now) == now
    assert parse_since("2026-11-22T01:00+01:00", now) == now


@pytest.mark.parametrize("text", ["yesterday", "5", "-1h", ""])
def test_another_time_is_refused(folder: Path, text: str) -> None:
    done = run(folder, "show", "cluster", "--since", text)
    assert done.exit_code == (0 if text == "" else 2)
