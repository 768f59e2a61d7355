"""Opens only what root alone could have written.

Every folder on the way is opened from the one before it and judged by `fstat`, so nothing
can be exchanged between the look and the use. A symbolic link is followed only where it
stands in a folder that was already found good: only root can have put it there. Access
control lists need no look of their own: the kernel shows what they grant in the group bits.

`owners` are the uids that count as trustworthy: root, and in the single-account form also
the user whose launcher this is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest file that is read."""

_MAX_LINKS: Final = 20
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class UntrustedPathError(ChamberlainError):
    """A path could have been written by others, or is not there. The detail names the path
    and, where one helps, the command that repairs it. Do not start, do not use the file."""

    code = ErrorCode.CONFIG_INVALID


def read(path: Path, owners: frozenset[int]) -> bytes:
    """Return the content of `path`, which only `owners` can have written.

    Raises:
        UntrustedPathError: see there.
    """
    with _opened(path, owners) as found:
        # The opened file itself is read again through its own number: the name is not
        # looked up twice.
        fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UntrustedPathError(f"{path} has more than {MAX_BYTES} bytes")
    return content


def stamp(path: Path, owners: frozenset[int]) -> tuple[int, ...]:
    """Return what changes when `path` is written or replaced.

    Raises:
        UntrustedPathError: see there.
    """
    with _opened(path, owners) as found:
        seen = os.fstat(found)
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def make_folder(path: Path, owners: frozenset[int], *, mode: int, gid: int = -1) -> None:
    """Make the folder `path` if it is missing, with `mode`, and check the way to it.

    Args:
        gid: the group of a new folder; -1 leaves it as it comes.

    Raises:
        UntrustedPathError: see there. A folder that was there keeps its mode.
    """
    parent = path.parent
    if not parent.exists():
        make_folder(parent, owners, mode=0o755)
    with _walked(parent, owners) as folder:
        try:
            os.mkdir(path.name, mode, dir_fd=folder)
        except FileExistsError:
            pass
        else:
            fd = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                os.fchown(fd, -1, gid)
                os.fchmod(fd, mode)  # mkdir's mode went through the umask
            finally:
                os.close(fd)
    check_folder(path, owners)


def check_folder(path: Path, owners: frozenset[int]) -> None:
    """Check that only `owners` can make, exchange or remove what is in the folder `path`.

    Raises:
        UntrustedPathError: see there.
    """
    with _walked(path, owners) as folder:
        _refuse_writable(path, os.fstat(folder))


@contextmanager
def _opened(path: Path, owners: frozenset[int]) -> Iterator[int]:
    with _walked(path, owners) as found:
        seen = os.fstat(found)
        if not stat.S_ISREG(seen.st_mode):
            raise UntrustedPathError(f"{path} is not a regular file")
        _refuse_writable(path, seen)
        yield found


@contextmanager
def _walked(path: Path, owners: frozenset[int]) -> Iterator[int]:
    """Yield a look-only descriptor of `path`, every step to which was checked."""
    if not path.is_absolute() or ".." in path.parts:
        raise UntrustedPathError(f"{path} must be an absolute path without '..'")
    at, here = os.open("/", _LOOK), Path("/")
    waiting = list(reversed(path.parts[1:]))
    links = 0
    try:
        while waiting:
            _check_step(here, os.fstat(at), owners)
            name = waiting.pop()
            below = _look(here / name, at)
            seen = os.fstat(below)
            if not stat.S_ISLNK(seen.st_mode):
                os.close(at)
                at, here = below, here / name
                continue
            os.close(below)
            _refuse_owner(here / name, seen, owners)
            links += 1
            if links > _MAX_LINKS:
                raise UntrustedPathError(f"{path} leads through too many symbolic links")
            target = Path(os.path.normpath(here / os.readlink(name, dir_fd=at)))
            waiting += reversed(target.parts[1:])
            os.close(at)
            at, here = os.open("/", _LOOK), Path("/")
        _refuse_owner(here, os.fstat(at), owners)
        yield at
    finally:
        os.close(at)


def _look(path: Path, folder: int) -> int:
    try:
        return os.open(path.name, _LOOK, dir_fd=folder)
    except OSError as error:
        raise UntrustedPathError(f"{path}: {error.strerror}") from error


def _check_step(path: Path, seen: os.stat_result, owners: frozenset[int]) -> None:
    """Check one folder on the way. In a sticky folder such as /tmp nobody can exchange what
    belongs to another, and what we take from it must belong to `owners`."""
    _refuse_owner(path, seen, owners)
    if not stat.S_ISDIR(seen.st_mode):
        raise UntrustedPathError(f"{path} is not a folder")
    if not seen.st_mode & stat.S_ISVTX:
        _refuse_writable(path, seen)


def _refuse_owner(path: Path, seen: os.stat_result, owners: frozenset[int]) -> None:
    if seen.st_uid not in owners:
        wanted = " or ".join("root" if uid == 0 else f"uid {uid}" for uid in sorted(owners))
        raise UntrustedPathError(
            f"{path} belongs to uid {seen.st_uid} and must belong to {wanted}; "
            f"run: chown -h {max(owners)} {path}"
        )


def _refuse_writable(path: Path, seen: os.stat_result) -> None:
    if seen.st_mode & _WRITABLE_BY_OTHERS:
        raise UntrustedPathError(
            f"{path} has mode {stat.S_IMODE(seen.st_mode):04o}: others may write to it; "
            f"run: chmod go-w {path}"
        )
