"""Standard input and output of one container, over the engine's stream."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime.port import TAIL_BYTES

_READ_BYTES: Final = 64 * 1024
_PAUSE_S: Final = 0.01
"""Pause after a full read: a container that floods its output waits, not root."""
_HEAD: Final = struct.Struct(">B3xI")
_STDERR: Final = 2


class ContainerStream:
    """Feeds the first line, and keeps the end of what comes back.

    Args:
        waiting: what is to be written first. A secret.
        on_output: takes what comes from standard output.
    """

    def __init__(self, waiting: bytes, on_output: Callable[[bytes], None] = lambda _: None) -> None:
        self._on_output = on_output
        self._waiting = bytearray(waiting)
        self._tail = bytearray()
        self._loop: Loop | None = None
        self._socket: socket.socket | None = None
        self._on_end: Callable[[], None] = lambda: None
        self._head = bytearray()
        self._left = 0
        self._is_error = False

    @property
    def tail(self) -> bytes:
        """What it wrote last on standard error."""
        return bytes(self._tail)

    def open(self, loop: Loop, fd: int, on_end: Callable[[], None]) -> None:
        """Go on with the stream `fd`, which is ours from now on.

        Args:
            on_end: called when the other side hung up.
        """
        self.close()
        self._loop, self._on_end = loop, on_end
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._head.clear()
        self._left = 0
        loop.on_readable(fd, self._read)
        self._feed()

    def drain(self) -> None:
        """Take what is there now."""
        while self._socket is not None:
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._keep(data)

    def close(self) -> None:
        """Let go of the stream; twice is harmless."""
        if self._socket is not None and self._loop is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
        self._socket = None

    def _read(self) -> None:
        stream, loop = self._socket, self._loop
        assert stream is not None
        assert loop is not None
        try:
            data = stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return
        self._keep(data)
        if len(data) == _READ_BYTES:
            loop.forget(stream.fileno())
            loop.call_later(_PAUSE_S, lambda: self._watch_again(stream))

    def _watch_again(self, stream: socket.socket) -> None:
        if stream is self._socket and self._loop is not None:
            self._loop.on_readable(stream.fileno(), self._read)
            self._feed()

    def _feed(self) -> None:
        stream, loop = self._socket, self._loop
        assert stream is not None
        assert loop is not None
        written = 0
        if self._waiting:
            try:
                written = stream.send(self._waiting)
            except BlockingIOError:
                written = 0
            except OSError:
                # The end is told by the read side.
                self._waiting.clear()
        del self._waiting[:written]
        loop.on_writable(stream.fileno(), self._feed if self._waiting else None)

    def _keep(self, data: bytes) -> None:
        """Take the frames apart: a head of eight bytes, then what one of the outputs said."""
        view = memoryview(data)
        while view:
            if self._left == 0:
                missing = _HEAD.size - len(self._head)
                self._head += view[:missing]
                view = view[missing:]
                if len(self._head) < _HEAD.size:
                    return
                kind, self._left = _HEAD.unpack(self._head)
                self._is_error = kind == _STDERR
                self._head.clear()
                continue
            part = view[: self._left]
            if self._is_error:
                self._tail += part[-TAIL_BYTES:]
                del self._tail[:-TAIL_BYTES]
            else:
                self._on_output(bytes(part))
            self._left -= len(part)
            view = view[len(part) :]


def close_all(fds: tuple[int, ...]) -> None:
    """Close descriptors that nobody wants any more."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
