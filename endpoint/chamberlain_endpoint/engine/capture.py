"""The end of what a task prints, caught in a process that runs one task at a time.

Descriptors 1 and 2 lead into two files in memory, so that C code and child processes are
caught too. They are made once a process: a task that prints nothing costs a few system calls.
A pipe was rejected: C code that prints while it holds the interpreter's lock would wait for a
reader that waits for the lock. See `docs/adr/0015-output-of-tasks.md`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import sys
import threading
import time
from functools import cache
from typing import Final

from chamberlain_wire.details import Output, Stream, tail

_LOOK_S: Final = 1.0
_MUCH_BYTES: Final = 16 * 1024 * 1024
"""What is printed beyond this is given back to the system while the task still runs."""
_KEEP_SIZE_AND_PUNCH_HOLE: Final = 3


class _File:
    """Takes the place of one descriptor."""

    def __init__(self, descriptor: int, fd: int) -> None:
        self._descriptor = descriptor
        self._fd = fd

    def begin(self) -> None:
        """Forget what came before, and lead the descriptor here, wherever it led."""
        if os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, 0)
        os.dup2(self._fd, self._descriptor)

    def end(self, most_bytes: int) -> Stream:
        """Return the last `most_bytes` that were written."""
        size = os.fstat(self._fd).st_size
        if not size:
            return Stream()
        cut_bytes = max(0, size - most_bytes)
        data = os.pread(self._fd, most_bytes, cut_bytes)
        os.ftruncate(self._fd, 0)
        return tail(data, cut_bytes)

    def thin(self) -> None:
        """Keep memory bounded: the beginning of much output becomes a hole."""
        size = os.fstat(self._fd).st_size
        if size > _MUCH_BYTES:
            length = ctypes.c_int64(size - _MUCH_BYTES // 2)
            _libc().fallocate(self._fd, _KEEP_SIZE_AND_PUNCH_HOLE, ctypes.c_int64(0), length)


class ProcessOutput:
    """The output of this process. One task at a time; forked children write to the same.

    Args:
        fds: files of `new_files`.
    """

    def __init__(self, fds: tuple[int, int]) -> None:
        self._files = (_File(1, fds[0]), _File(2, fds[1]))
        for stream in (sys.stdout, sys.stderr):
            # What was printed before a task is killed shall be there, line by line.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        threading.Thread(target=self._look_after, name="task-output", daemon=True).start()

    def begin(self) -> None:
        """A task begins; what waits in buffers is not its own."""
        _flush()
        for file in self._files:
            file.begin()

    def end(self, most_bytes: int) -> Output:
        """The task has ended: return what it printed, the last `most_bytes` of each stream."""
        _flush()
        out, err = (file.end(most_bytes) for file in self._files)
        return Output(stdout=out, stderr=err)

    def _look_after(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            for file in self._files:
                file.thin()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The user may have closed it, or put anything in its place.
        with contextlib.suppress(Exception):
            stream.flush()
    _libc().fflush(None)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def new_files() -> tuple[int, int]:
    """Return two files in memory, for standard output and standard error."""
    fds = os.memfd_create("stdout"), os.memfd_create("stderr")
    for fd in fds:
        # Several processes may write, none of them over the other's.
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fds


def last_words(fds: tuple[int, int], most_bytes: int) -> str:
    """Return the end of what a process wrote to standard error in its last task."""
    fd = fds[1]
    begin = max(0, os.fstat(fd).st_size - most_bytes)
    return tail(os.pread(fd, most_bytes, begin), begin).text.strip()


_given: list[tuple[int, int]] = []


def use_files(fds: tuple[int, int]) -> None:
    """Catch output in these files, which somebody else can read when this process has died."""
    _given[:] = [fds]


@cache
def of_process() -> ProcessOutput:
    """Return the output of this process; from the first call on it is caught."""
    return ProcessOutput(_given[0] if _given else new_files())
