"""The end of a log, whatever the account has put in its place."""

from __future__ import annotations

import os
import subprocess
import sys
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


@pytest.mark.slow
def test_followed_it_goes_on_after_a_rotation_until_its_parent_is_gone(tmp_path: Path) -> None:
    log = tmp_path / "endpoint.log"
    log.write_text("one\ntwo\n")
    # A parent of its own, which is killed: the reader must not outlive it.
    code = (
        "import os, subprocess, sys; "
        "reader = subprocess.Popen([sys.executable, '-I', '-m', "
        "'chamberlain_endpoint.cli.log_end', sys.argv[1], '1', str(os.getpid())]); "
        "print(reader.pid, file=sys.stderr, flush=True); reader.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == "two\n"
        with log.open("a") as file:
            file.write("three\n")
        assert parent.stdout.readline() == "three\n"
        log.rename(tmp_path / "endpoint.log.1")
        log.write_text("four\n")
        assert parent.stdout.readline() == "four\n"
        log.write_text("")
        log.write_text("5\n")
        assert parent.stdout.readline() == "5\n"
        parent.kill()
        # The pipe ends when nobody has it open any more.
        assert parent.stdout.read() == ""
