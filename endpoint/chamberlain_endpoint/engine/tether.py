"""Ties a process to the one that started it: the kernel kills it when that one is gone.

`python -I -S tether.py COMMAND...` does it for a command. Standard library only, so that it
costs a few milliseconds. It must be started by a thread that lives as long as its process
does, because the kernel looks at the thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tie(parent: int) -> None:
    """Die when `parent`, who started this process, dies; at once when it did already.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def command(*words: str) -> list[str]:
    """Return the command line that runs `words` tied to the caller of this function."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *words]


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
