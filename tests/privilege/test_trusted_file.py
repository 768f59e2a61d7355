"""Whose files root reads, judged with files that really belong to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher import trusted_file
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.trusted_file import UntrustedPathError

pytestmark = pytest.mark.needs_root

ROOT = frozenset({0})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    path.chmod(0o644)
    return path


def test_a_link_that_an_account_made_in_a_shared_folder_is_not_followed(
    file: Path, account: Account
) -> None:
    shared = file.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(file)
    assert trusted_file.read(link, ROOT) == b"content"
    os.lchown(link, account.uid, account.gid)
    with pytest.raises(UntrustedPathError, match=f"belongs to uid {account.uid}"):
        trusted_file.read(link, ROOT)


def test_a_file_or_folder_of_an_account_is_refused_with_the_repair(
    file: Path, account: Account
) -> None:
    for path in (file, file.parent):
        os.chown(path, account.uid, -1)
        with pytest.raises(UntrustedPathError, match=f"run: chown -h 0 {path}$"):
            trusted_file.read(file, ROOT)
        os.chown(path, 0, -1)
