"""The launcher's socket: who may speak, and frames in and out.

A Unix socket, the only one that root opens. The kernel says who connects; anybody but the
manager (and root, for whom nothing is hidden here) is hung up on. No client can hold up
another: each has its own bounded buffers, and nothing waits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher import protocol
from chamberlain_endpoint.launcher.authority import Authority
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_wire.errors import ChamberlainError

_log: Final = logging.getLogger(__name__)

_PEER: Final = struct.Struct("3i")
_READ_BYTES: Final = 64 * 1024
_MOST_CLIENTS: Final = 256
_BACKLOG: Final = 64
_PAUSE_S: Final = 0.1


class Server:
    """Listens on one Unix socket and hands requests to the authority.

    Args:
        peer_uids: whose processes may speak.
        gid: the group that may open the socket; -1: none but its owner.
    """

    def __init__(
        self, loop: Loop, path: Path, authority: Authority, peer_uids: frozenset[int], gid: int
    ) -> None:
        self._loop = loop
        self._path = path
        self._authority = authority
        self._peer_uids = peer_uids
        self._gid = gid
        self._listener: socket.socket | None = None
        self._clients: set[_Client] = set()

    def open(self) -> None:
        """Listen. A socket that a dead launcher left is replaced."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Made for nobody, then opened for the group: there is no moment when others may in.
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        if self._gid >= 0:
            os.chown(self._path, -1, self._gid)
            self._path.chmod(0o660)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self._listen()

    def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        for client in tuple(self._clients):
            client.close()
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        assert self._listener is not None
        if self._listener.fileno() >= 0:
            self._loop.on_readable(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # No descriptor is left. The caller stays in line; asking at once would spin.
            _log.error(
                "cannot accept", extra={"event": "client.not_accepted", "reason": str(error)}
            )
            self._loop.forget(self._listener.fileno())
            self._loop.call_later(_PAUSE_S, self._listen)
            return
        pid, uid, _ = _PEER.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        if uid not in self._peer_uids or len(self._clients) >= _MOST_CLIENTS:
            _log.warning(
                "hung up on process %d",
                pid,
                extra={"event": "client.refused", "uid": uid, "count": len(self._clients)},
            )
            connection.close()
            return
        client = _Client(self._loop, connection, self._authority, self._clients.discard)
        self._clients.add(client)
        client.open()


class _Client:
    """One connection of the manager."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        authority: Authority,
        on_close: Callable[[_Client], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._authority = authority
        self._on_close = on_close
        self._reader = protocol.FrameReader()
        self._waiting = bytearray()
        self._is_open = True

    def open(self) -> None:
        self._connection.setblocking(False)
        self._loop.on_readable(self._connection.fileno(), self._read)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.forget(self._connection.fileno())
            self._connection.close()
            self._on_close(self)

    def _read(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
            for document in self._reader.feed(data):
                self._answer(document)
        except BlockingIOError:
            return
        except (OSError, protocol.FrameRefusedError) as error:
            _log.warning("hung up", extra={"event": "client.fault", "reason": str(error)})
            self.close()
            return
        if not data:
            self.close()

    def _answer(self, document: dict[str, Any]) -> None:
        number = document.get("id")
        if type(number) is not int:
            raise protocol.FrameRefusedError("request without a number")

        def reply(answer: protocol.Answer | ChamberlainError) -> None:
            if isinstance(answer, ChamberlainError):
                self._send(protocol.refusal_document(number, answer))
            else:
                self._send(protocol.answer_document(number, answer))

        try:
            request = protocol.parse_request(document)
        except protocol.RequestRefusedError as error:
            _log.warning("bad request", extra={"event": "request.refused", "reason": str(error)})
            reply(error)
            return
        self._authority.answer(request, reply, self._notify)

    def _notify(self, ended: protocol.Ended) -> bool:
        self._send(protocol.notice_document(ended))
        return self._is_open

    def _send(self, document: dict[str, Any]) -> None:
        if not self._is_open:
            return
        self._waiting += protocol.frame(document, protocol.MAX_ANSWER_BYTES)
        if len(self._waiting) > 2 * protocol.MAX_ANSWER_BYTES:
            _log.warning("hung up", extra={"event": "client.fault", "reason": "it reads nothing"})
            self.close()
            return
        self._write()

    def _write(self) -> None:
        try:
            sent = self._connection.send(self._waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._waiting[:sent]
        self._loop.on_writable(self._connection.fileno(), self._write if self._waiting else None)
