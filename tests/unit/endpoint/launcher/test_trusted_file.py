"""Only what root alone could have written. (Here "root" is whoever runs the tests, too.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher import trusted_file
from chamberlain_endpoint.launcher.trusted_file import UntrustedPathError

OWNERS = frozenset({0, os.geteuid()})
STRANGERS = frozenset({4_000_000})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    path = folder / "file"
    path.write_bytes(b"content")
    path.chmod(0o644)
    return path


def test_a_file_of_roots_is_read(file: Path) -> None:
    assert trusted_file.read(file, OWNERS) == b"content"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620])
def test_a_file_that_others_can_write_is_refused_with_the_repair(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(UntrustedPathError) as caught:
        trusted_file.read(file, OWNERS)
    assert f"{file} has mode {mode:04o}" in str(caught.value)
    assert str(caught.value).endswith(f"run: chmod go-w {file}")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_folder_that_others_can_write_is_refused(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    with pytest.raises(UntrustedPathError, match=f"chmod go-w {file.parent}$"):
        trusted_file.read(file, OWNERS)


def test_a_sticky_folder_does_no_harm_on_the_way(file: Path) -> None:
    file.parent.chmod(0o1777)
    assert trusted_file.read(file, OWNERS) == b"content"


def test_a_strangers_file_is_refused(file: Path) -> None:
    with pytest.raises(UntrustedPathError, match="belongs to uid"):
        trusted_file.read(file, STRANGERS)


def test_a_link_in_a_good_folder_to_a_good_file_is_followed(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to("file")
    assert trusted_file.read(link, OWNERS) == b"content"


def test_a_link_out_of_a_good_folder_does_not_hide_a_bad_one(file: Path) -> None:
    bad = file.parent.parent / "bad"
    bad.mkdir()
    (bad / "file").write_bytes(b"content")
    bad.chmod(0o777)
    link = file.parent / "link"
    link.symlink_to("../bad/file")
    with pytest.raises(UntrustedPathError, match=f"chmod go-w {bad}$"):
        trusted_file.read(link, OWNERS)


def test_links_that_lead_in_circles_are_refused(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to("link")
    with pytest.raises(UntrustedPathError, match="too many symbolic links"):
        trusted_file.read(link, OWNERS)


@pytest.mark.parametrize("name", ["missing", "missing/file", "file/below"])
def test_what_is_not_there_is_refused(file: Path, name: str) -> None:
    with pytest.raises(UntrustedPathError):
        trusted_file.read(file.parent / name, OWNERS)


def test_a_path_must_be_absolute_and_straight(file: Path) -> None:
    for path in (Path("file"), file.parent / ".." / "etc" / "file"):
        with pytest.raises(UntrustedPathError, match="absolute path"):
            trusted_file.read(path, OWNERS)


def test_a_pipe_or_folder_is_no_file_and_nobody_waits_for_it(file: Path) -> None:
    pipe = file.parent / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, file.parent):
        with pytest.raises(UntrustedPathError, match="not a regular file"):
            trusted_file.read(path, OWNERS)


def test_a_file_without_end_is_refused(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(trusted_file.MAX_BYTES + 1)
    with pytest.raises(UntrustedPathError, match="more than"):
        trusted_file.read(file, OWNERS)


def test_the_stamp_changes_with_the_content_and_with_the_file(file: Path) -> None:
    first = trusted_file.stamp(file, OWNERS)
    file.write_bytes(b"other content")
    second = trusted_file.stamp(file, OWNERS)
    file.rename(file.with_suffix(".old"))
    file.write_bytes(b"other content")
    assert len({first, second, trusted_file.stamp(file, OWNERS)}) == 3


def test_a_missing_folder_is_made_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        trusted_file.make_folder(tmp_path / "a" / "b", OWNERS, mode=0o711)
        trusted_file.make_folder(tmp_path / "a" / "b", OWNERS, mode=0o700)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o711


def test_a_folder_that_others_can_write_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o1777)
    with pytest.raises(UntrustedPathError, match="chmod go-w"):
        trusted_file.make_folder(folder, OWNERS, mode=0o700)
