"""The folders that accounts get on the login node's local disk."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def make_account_dir(accounts_dir: Path, uid: int, gid: int) -> Path:
    """Return the account's own folder, made with the account as its owner.

    `accounts_dir` is writable by the launcher alone, so what stands there is what it made.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    base = os.open(accounts_dir, flags)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(str(uid), 0o700, dir_fd=base)
        folder = os.open(str(uid), flags, dir_fd=base)
    finally:
        os.close(base)
    try:
        seen = os.fstat(folder)
        if seen.st_uid != uid:
            os.fchown(folder, uid, gid)
        if stat.S_IMODE(seen.st_mode) != 0o700:
            os.fchmod(folder, 0o700)
    finally:
        os.close(folder)
    return accounts_dir / str(uid)
