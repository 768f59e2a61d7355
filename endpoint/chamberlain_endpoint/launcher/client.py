"""The manager's end of the launcher's socket.

One connection a request: a Unix connection costs microseconds, calls may come from any
thread, and a launcher that was restarted is found again without anybody noticing.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher import protocol
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_ANSWER_S: Final = 30.0
"""How long an answer other than a stop's may take: name services can be slow."""

_READ_BYTES: Final = 64 * 1024


class LauncherUnreachableError(ChamberlainError):
    """The launcher does not answer. Nothing was decided; try again later.

    A launch may have been carried out although its answer was lost: look at `list` first.
    """

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint cannot start anything at the moment; try again later."


class LauncherRefusedError(protocol.RelayedError):
    """The launcher decided: no. Pass `word` and `public` on; `str(error)` is for the log.

    `word` is the code of the refusal; `UNAVAILABLE` alone is worth another try.
    """

    code = ErrorCode.START_FAILED


class LauncherClient:
    """Asks the launcher. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = threading.Event()
        self._watching: socket.socket | None = None

    def hello(self) -> protocol.Greeting:
        """Return who serves behind the socket."""
        return protocol.Greeting(**self._ask(protocol.Hello()))

    def admit(self, assertion: bytes) -> protocol.Admitted:
        """Return the account that the signed statement maps to; start nothing.

        Raises:
            LauncherRefusedError: nobody may come in with it.
            LauncherUnreachableError: ask again later.
        """
        answer = self._ask(protocol.Admit(assertion.decode("ascii", "replace")))
        return protocol.Admitted(account=protocol.parse_account(answer.pop("account")), **answer)

    def launch(self, launch: protocol.Launch) -> protocol.Launched:
        """Start a user endpoint. The assertion is used up, also when it ran already.

        Raises:
            LauncherRefusedError: it is not started. With `UNAVAILABLE` the assertion is not
                used up: ask again. `FrameRefusedError`: the request is too large.
            LauncherUnreachableError: look at `list` before asking again.
        """
        return protocol.Launched(**self._ask(launch))

    def stop(self, user_endpoint: str, *, grace_s: float, why: str) -> None:
        """Return when nothing of `user_endpoint` runs any more; that can take `grace_s` and
        some seconds. One that does not run is no error."""
        request = protocol.Stop(user_endpoint=user_endpoint, grace_s=grace_s, why=why)
        self._ask(request, answer_s=grace_s + _ANSWER_S)

    def ask_to_stop(self, user_endpoint: str, *, grace_s: float, why: str) -> None:
        """Have `user_endpoint` end within `grace_s`; do not wait for that. `list` shows when."""
        request = protocol.Stop(user_endpoint=user_endpoint, grace_s=grace_s, why=why)
        with self._connect() as connection:
            self._send(connection, request)

    def list(self) -> protocol.Listing:
        """Return what runs and the last 200 ends."""
        answer = self._ask(protocol.ListRunning())
        return protocol.Listing(
            running=tuple(protocol.Running(**each) for each in answer["running"]),
            ended=tuple(protocol.parse_ended(each) for each in answer["ended"]),
        )

    def watch(
        self,
        on_ended: Callable[[protocol.Ended], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Call `on_ended` for every end, in this thread, until `close()`.

        Args:
            on_ready: called once when from now on no end is missed. What ended before is in
                `list()`: ask for it from here.

        Raises:
            LauncherUnreachableError: the launcher is away, or went away. Wait a moment, then
                watch again and look at `list()`.
        """
        with self._connect() as connection:
            self._watching = connection
            if self._closed.is_set():
                return
            try:
                self._send(connection, protocol.Watch())
                for document in self._documents(connection):
                    if document.get("notice") == "ended":
                        on_ended(protocol.parse_ended(document))
                    else:
                        _granted(document)
                        connection.settimeout(None)
                        on_ready()
            except LauncherUnreachableError:
                if not self._closed.is_set():
                    raise
            finally:
                self._watching = None

    def close(self) -> None:
        """End a `watch` that runs in another thread. Later calls of `watch` return at once;
        requests are answered as before."""
        self._closed.set()
        watching = self._watching
        if watching is not None:
            with contextlib.suppress(OSError):
                watching.shutdown(socket.SHUT_RDWR)

    def _ask(self, request: protocol.Request, answer_s: float = _ANSWER_S) -> dict[str, Any]:
        with self._connect(answer_s) as connection:
            self._send(connection, request)
            return _granted(next(self._documents(connection)))

    def _connect(self, answer_s: float = _ANSWER_S) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(answer_s)
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise LauncherUnreachableError(f"{self._path}: {error}") from error
        return connection

    def _send(self, connection: socket.socket, request: protocol.Request) -> None:
        data = protocol.frame(protocol.request_document(1, request))
        try:
            connection.sendall(data)
        except OSError as error:
            raise LauncherUnreachableError(f"{self._path}: {error}") from error

    def _documents(self, connection: socket.socket) -> Iterator[dict[str, Any]]:
        reader = protocol.FrameReader(protocol.MAX_ANSWER_BYTES)
        while True:
            try:
                data = connection.recv(_READ_BYTES)
            except OSError as error:
                raise LauncherUnreachableError(f"{self._path}: {error}") from error
            if not data:
                raise LauncherUnreachableError(f"{self._path}: the launcher hung up")
            yield from reader.feed(data)


def _granted(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a granted answer, or raise the refusal that it is."""
    if document.pop("ok"):
        del document["id"]
        return document
    raise LauncherRefusedError(ErrorCode(document["code"]), document["public"], document["detail"])
