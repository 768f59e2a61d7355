"""Prints the end of a log: `python -I -m chamberlain_endpoint.cli.log_end PATH LINES [PARENT]`.

Run as the account that owns the log, and so allowed no more than that account is. With PARENT,
the id of the process that started it, it goes on with what is written later, also after the
log was rotated, until PARENT is gone.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from chamberlain_endpoint.engine.tether import tie

_MAX_BYTES: Final = 4 * 1024 * 1024
_LOOK_S: Final = 0.25


class _RefusedError(Exception):
    """What is there is not to be read; its text says why."""


def main(arguments: Sequence[str]) -> int:
    """Print the last lines of a file; return 0, or 1 with a sentence on standard error."""
    path, lines = arguments[0], int(arguments[1])
    try:
        file = _open(path)
    except _RefusedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if len(arguments) > 2:
        tie(int(arguments[2]))
    file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_BYTES))
    _print(b"".join(file.read(_MAX_BYTES).splitlines(keepends=True)[-lines:]))
    if len(arguments) > 2:
        _follow(path, file)
    file.close()
    return 0


def _open(path: str) -> BinaryIO:
    try:
        # A pipe in its place must not keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _RefusedError(error.strerror) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _RefusedError("it is no file")
    return os.fdopen(descriptor, "rb")


def _follow(path: str, file: BinaryIO) -> None:
    while True:
        _print(file.read(_MAX_BYTES))
        if os.fstat(file.fileno()).st_size > file.tell():
            continue
        if os.fstat(file.fileno()).st_size < file.tell():
            # It was emptied.
            file.seek(0)
            continue
        time.sleep(_LOOK_S)
        if _is_another(path, file):
            # What came last, before it was put aside.
            _print(file.read(_MAX_BYTES))
            try:
                fresh = _open(path)
            except _RefusedError:
                continue
            file.close()
            file = fresh


def _is_another(path: str, file: BinaryIO) -> bool:
    try:
        now = Path(path).lstat()
    except OSError:
        return False
    return not os.path.samestat(now, os.fstat(file.fileno()))


def _print(data: bytes) -> None:
    if data:
        sys.stdout.write(data.decode(errors="replace"))
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
