"""The site's archive on the control node: what was packed comes out, or a sentence says why not."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "ansible/roles/backup/files/archive.py"
VAULT = Path(sys.executable).with_name("ansible-vault")


def do(word: str, file: Path, **more: object) -> Any:
    wish = {"do": word, "file": str(file), "key_file": "", "vault": str(VAULT), **more}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(wish, default=str),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "hub.tar").write_text("hub" * 1000)
    (stage / "broker-password").write_text("secret")
    file = tmp_path / "site.tar"
    assert do("pack", file, stage=stage, about={"chamberlain": "0.1.0"}) == {"file": str(file)}
    return file


def test_what_was_packed_comes_out(made: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    listed = do("look", made)
    assert (listed["chamberlain"], set(listed["members"])) == (
        "0.1.0",
        {"hub.tar", "broker-password"},
    )
    to = tmp_path / "to"
    to.touch(mode=0o600)
    assert do("take", made, member="broker-password", to=to) == {}
    assert to.read_text() == "secret"


def test_no_archive_is_replaced(made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    said = do("pack", made, stage=tmp_path / "stage", about={})
    assert "exists already" in said["error"]
    assert made.read_bytes() == before


def _cut(content: bytes) -> bytes:
    return content[:2000]


def _flip(content: bytes) -> bytes:
    return content.replace(b"secret", b"sicret")


def _flip_list(content: bytes) -> bytes:
    return content.replace(b'"0.1.0"', b'"9.1.0"')


@pytest.mark.parametrize("change", [_cut, _flip, _flip_list])
def test_a_damaged_archive_is_told(made: Path, change: Callable[[bytes], bytes]) -> None:
    made.write_bytes(change(made.read_bytes()))
    assert "is damaged" in do("look", made)["error"]


def test_a_missing_archive_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in do("look", tmp_path / "none.tar")["error"]
