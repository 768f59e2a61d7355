"""Whole messages over a stream socket between manager and render child: length, then bytes."""

from __future__ import annotations

import socket
import struct
from typing import Final

from chamberlain_wire.errors import ChamberlainError

MAX_BYTES: Final = 16 * 1024 * 1024
"""Largest message either side reads."""

_HEAD: Final = struct.Struct(">I")


class CutOffError(ChamberlainError):
    """The other side ended before the message did."""


def send(peer: socket.socket, body: bytes) -> None:
    """Send `body` as one message."""
    peer.sendall(_HEAD.pack(len(body)) + body)


def receive(peer: socket.socket) -> bytes:
    """Return the next message.

    Raises:
        CutOffError: there is none, or it is longer than the limit.
        TimeoutError: as the socket's own timeout says.
    """
    (size,) = _HEAD.unpack(_exactly(peer, _HEAD.size))
    if size > MAX_BYTES:
        raise CutOffError(f"message of {size} bytes")
    return _exactly(peer, size)


def _exactly(peer: socket.socket, size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        part = peer.recv(min(size - len(body), 256 * 1024))
        if not part:
            raise CutOffError(f"{len(body)} of {size} bytes came")
        body += part
    return bytes(body)
