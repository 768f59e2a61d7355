"""Setup and teardown texts."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from chamberlain_endpoint.user.shell import Shell, ShellFailedError


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_text_is_nothing_to_do(tmp_path: Path, text: str | None) -> None:
    Shell(tmp_path).run("endpoint_setup", text)
    assert list(tmp_path.iterdir()) == []


def test_a_text_runs_in_its_folder(tmp_path: Path) -> None:
    Shell(tmp_path).run("endpoint_setup", "echo here > made")
    assert (tmp_path / "made").read_text() == "here\n"


def test_a_failure_tells_its_code_and_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ShellFailedError) as caught:
        Shell(tmp_path).run("endpoint_setup", "echo lost; echo no license >&2; exit 4")
    assert caught.value.public == "endpoint_setup ended with exit code 4: lost\nno license"


def test_what_it_leaves_running_does_not_hold_it(tmp_path: Path) -> None:
    began = time.monotonic()
    Shell(tmp_path).run("endpoint_setup", "sleep 5 &")
    assert time.monotonic() - began < 4.0


def test_interrupted_it_ends_and_runs_nothing_more(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    thread = threading.Thread(
        target=shell.run, args=("endpoint_setup", "echo $$ > pid; sleep 3600")
    )
    thread.start()
    while not (tmp_path / "pid").exists():
        assert thread.is_alive()
        time.sleep(0.01)
    shell.interrupt()
    thread.join(10.0)
    assert not thread.is_alive()
    shell.run("endpoint_teardown", "echo no > more")
    assert not (tmp_path / "more").exists()
