"""The end of a log, whatever the account has put in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chamberlain_endpoint.cli.log_end import main
from chamberlain_endpoint.cli.user_endpoints import without_controls


def test_the_last_lines_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "endpoint.log"
    log.write_bytes(b"one\ntwo\n\xffthree\n")
    assert main([str(log), "2"]) == 0
    assert capsys.readouterr().out == "two\n\ufffdthree\n"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_what_is_no_file_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, secret = tmp_path / "endpoint.log", tmp_path / "secret"
    secret.write_text("secret")
    match kind:
        case "link":
            log.symlink_to(secret)
        case "pipe":
            os.mkfifo(log)
        case "folder":
            log.mkdir()
    assert main([str(log), "5"]) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err


def test_a_terminal_gets_no_control_characters() -> None:
    assert without_controls("a\x1b[31m\r\x07\u202eb\nc") == "a\\x1b[31m\\r\\x07\\u202eb\nc"
