"""A network of a test's own: a loopback on which every port is free.

The public agent finds a local service on port 5000 and nowhere else. In a network namespace of
its own that port is nobody else's, so that tests may run side by side. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x1 | 0x40
_libc = ctypes.CDLL(None, use_errno=True)


class OwnNetwork:
    """A network namespace with a loopback, and nothing else. Close it at the end.

    Whatever is started inside (`with network.entered()`), process or thread, stays in it. The
    kernel removes it when the last of them has ended and it is closed.
    """

    def __init__(self) -> None:
        with _returning():
            _call(_libc.unshare, _CLONE_NEWNET)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                request = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
                fcntl.ioctl(control, _SIOCSIFFLAGS, request)
            self._fd = _current()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and all that it starts meanwhile, live in the network."""
        with _returning():
            _call(_libc.setns, self._fd, _CLONE_NEWNET)
            yield

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    before = _current()
    try:
        yield
    finally:
        _call(_libc.setns, before, _CLONE_NEWNET)
        os.close(before)


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(function: ctypes._NamedFuncPointer, *arguments: int) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"network namespace: {os.strerror(number)}")
