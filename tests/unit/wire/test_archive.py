"""An archive comes back as it was written, or not at all; nothing in it is believed unread."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chamberlain_wire import archive
from chamberlain_wire.archive import ArchiveError, Member


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for name, text in (("key.pem", "secret"), ("database", "rows" * 1000)):
        (tmp_path / name).write_text(text)
    members = [Member(name, tmp_path / name, 0o640) for name in ("key.pem", "database")]
    file = tmp_path / "backup.tar"
    archive.write(file, "hub", "0.1.0", members, {"host": "old"})
    return file


def read(file: Path, kind: str = "hub", version: str = "0.2.0") -> archive.Opened:
    into = file.parent / "into"
    into.mkdir()
    return archive.read(file, kind, version, into)


def test_what_was_put_in_comes_out_and_the_file_is_private(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    opened = read(made)
    assert (opened.version, opened.facts) == ("0.1.0", {"host": "old"})
    key = opened.member("key.pem")
    assert key is not None
    assert (key.path.read_text(), key.mode) == ("secret", 0o640)
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert [one.name for one in opened.members] == ["key.pem", "database"]


def test_no_file_is_replaced_and_none_is_left_half_written(made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(ArchiveError, match="exists already"):
        archive.write(made, "hub", "0.1.0", [], {})
    assert made.read_bytes() == before
    gone = Member("gone", tmp_path / "gone")
    with pytest.raises(ArchiveError, match="cannot be written"):
        archive.write(tmp_path / "other.tar", "hub", "0.1.0", [gone], {})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"key.pem", "database", "backup.tar"}


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip_member(content: bytes) -> bytes:
    return content.replace(b"secret", b"sicret", 1)


def _flip_list(content: bytes) -> bytes:
    return content.replace(b'"host": "old"', b'"host": "odd"', 1)


def _rubbish(_content: bytes) -> bytes:
    return b"no archive at all"


@pytest.mark.parametrize("change", [_cut, _flip_member, _flip_list, _rubbish])
def test_a_damaged_archive_is_refused(made: Path, change: Callable[[bytes], bytes]) -> None:
    made.write_bytes(change(made.read_bytes()))
    with pytest.raises(ArchiveError, match="is damaged"):
        read(made)


def test_a_member_too_many_is_refused(made: Path, tmp_path: Path) -> None:
    with tarfile.open(made, "a") as tar:
        tar.add(tmp_path / "database", "more")
    with pytest.raises(ArchiveError, match="differ: more"):
        read(made)


@pytest.mark.parametrize("name", ["../key.pem", "/etc/passwd", "a/b", ".hidden", ""])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "one").write_text("x")
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as tar:
        tar.add(tmp_path / "one", name)
    with pytest.raises(ArchiveError, match="is damaged"):
        read(file)
    with pytest.raises(ArchiveError, match="no file of a backup"):
        archive.write(tmp_path / "a.tar", "hub", "0.1.0", [Member(name, tmp_path / "one")], {})


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as tar:
        tar.add(tmp_path / "link", "key.pem")
    with pytest.raises(ArchiveError, match="is damaged"):
        read(file)


def test_another_major_version_another_kind_and_no_file_are_told(made: Path) -> None:
    with pytest.raises(ArchiveError, match=r"was made by version 0\.1\.0, and this is 1\.0\.0"):
        read(made, version="1.0.0")
    (made.parent / "into").rename(made.parent / "first")
    with pytest.raises(ArchiveError, match="is a backup of hub"):
        read(made, kind="endpoint")
    with pytest.raises(ArchiveError, match="cannot be read: No such file"):
        archive.read(made.with_name("none.tar"), "hub", "0.1.0", made.parent)
