"""Prints the end of a log: `python -I -m chamberlain_endpoint.cli.log_end PATH LINES`.

Run as the account that owns the log, and so allowed no more than that account is.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from typing import Final

_MAX_BYTES: Final = 4 * 1024 * 1024


def main(arguments: Sequence[str]) -> int:
    """Print the last lines of a file; return 0, or 1 with a sentence on standard error."""
    path, lines = arguments[0], int(arguments[1])
    try:
        # A pipe in its place must not keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return 1
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        sys.stderr.write("it is no file\n")
        return 1
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_BYTES))
        end = file.read(_MAX_BYTES).splitlines(keepends=True)[-lines:]
    sys.stdout.write(b"".join(end).decode(errors="replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
