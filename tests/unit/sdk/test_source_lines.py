"""Missing lines of a remote traceback: from the caller's own, unchanged files, and nothing else."""

from __future__ import annotations

import linecache
import os
import time
from pathlib import Path

import pytest

from chamberlain.source_lines import with_source


def traceback_of(file: str) -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "{file}", line 2, in wrong\n'
        '  File "/opt/python/json.py", line 7, in loads\n'
        "    there was a line\n"
        "ValueError: on purpose\n"
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.py"
    file.write_text("def wrong():\n    raise ValueError('on purpose')\n")
    return file


def test_the_line_is_put_where_it_belongs(script: Path) -> None:
    lines = with_source(traceback_of(str(script)), began_at=time.time() + 1).splitlines()
    assert lines[2] == "    raise ValueError('on purpose')"
    assert lines[4] == "    there was a line"
    assert len(lines) == 6


def test_a_file_that_was_changed_since_is_not_quoted(script: Path) -> None:
    text = traceback_of(str(script))
    assert with_source(text, began_at=time.time() - 3600) == text
    assert with_source(text, began_at=None) == text


def test_the_cells_of_a_notebook_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("<ipython-input-1>", "/tmp/ipykernel_1/123.py"):
        cell = ["def wrong():\n", "    oh()\n"]
        monkeypatch.setitem(linecache.cache, name, (20, None, cell, name))
        assert "    oh()" in with_source(traceback_of(name), began_at=time.time())


@pytest.mark.parametrize("kind", ["pipe", "not python", "large", "nothing", "folder"])
def test_what_is_no_file_of_source_is_not_opened(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "not python":
            file = tmp_path / "secrets.txt"
            file.write_text("one\nsecret\n")
        case "large":
            file.write_text("one\nsecret\n" + "#" * 5_000_000)
        case "folder":
            file.mkdir()
    text = traceback_of(str(file))
    assert with_source(text, began_at=time.time() + 1) == text
