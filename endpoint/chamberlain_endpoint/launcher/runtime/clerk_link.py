"""The launcher's end of the clerk: asks, and is called back. Never waits."""

from __future__ import annotations

import array
import contextlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Loop, Timer
from chamberlain_endpoint.launcher.runtime import container_stream, faults
from chamberlain_endpoint.launcher.runtime.faults import EngineError
from chamberlain_endpoint.launcher.settings import EngineKind

_log: Final = logging.getLogger(__name__)

_MODULE: Final = "chamberlain_endpoint.launcher.runtime.clerk"
_PACKET_BYTES: Final = 128 * 1024
_AGAIN_S: Final = 1.0
_END_S: Final = 2.0
_UNDO_S: Final = 30.0

OnAnswer = Callable[[dict[str, Any] | EngineError, tuple[int, ...]], None]
"""Takes an answer, or why there is none, and descriptors that are now its own."""


class ClerkLink:
    """Keeps a clerk running and passes requests to it.

    A clerk that dies fails what it was asked, and is started again. Call it from the loop's
    thread.

    Args:
        path: the engine's socket.
        endpoint: whose containers it tends when we are gone; `leases`: by these files.
    """

    def __init__(
        self, loop: Loop, engine: EngineKind, path: Path, endpoint: str, leases: Path
    ) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._leases = leases
        self._engine = engine
        self._path = path
        self._numbers = count(1)
        self._waiting: dict[int, tuple[OnAnswer, Timer]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._end: socket.socket | None = None
        self._is_closed = False

    def open(self) -> None:
        """Start the clerk."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    # -I: no variable and no package of a user's changes what root runs.
                    "-I",
                    "-m",
                    _MODULE,
                    str(its.fileno()),
                    str(self._engine),
                    str(self._path),
                    self._endpoint,
                    str(self._leases),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                env={"LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        ours.setblocking(False)
        self._end = ours
        self._loop.on_readable(ours.fileno(), self._take)

    def ask(self, do: str, fields: dict[str, Any], on_answer: OnAnswer, timeout_s: float) -> None:
        """Have `do` done; `on_answer` is called once, within `timeout_s`."""
        number = next(self._numbers)
        timer = self._loop.call_later(timeout_s, lambda: self._miss(number, do, timeout_s))
        self._waiting[number] = (on_answer, timer)
        packet = json.dumps({"id": number, "do": do, **fields}).encode()
        try:
            if self._end is None:
                raise BrokenPipeError("the clerk is just being started again")
            self._end.send(packet)
        except OSError as error:
            fault = EngineError(f"the clerk takes no request: {error}")
            self._loop.call_later(0.0, lambda: self._answer(number, fault, ()))

    def close(self, *, stays: bool = False) -> None:
        """End the clerk. What it was asked is not answered any more.

        Args:
            stays: only hang up; it goes on with what runs until the next launcher is there.
        """
        self._is_closed = True
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        if stays and self._process is not None:
            # Not ours any more: nobody waits for it, and nobody should be reminded to.
            self._process.returncode = 0
            self._process = None
        self._let_go()

    def _take(self) -> None:
        assert self._end is not None
        try:
            packet, beside, _, _ = self._end.recvmsg(_PACKET_BYTES, socket.CMSG_SPACE(16))
        except BlockingIOError:
            return
        except OSError:
            packet, beside = b"", []
        fds = _descriptors(beside)
        if not packet:
            self._restart()
            return
        answer = json.loads(packet)
        if "fault" in answer:
            self._answer(answer["id"], faults.by_word(answer["fault"], answer["detail"]), fds)
        else:
            self._answer(answer["id"], answer, fds)

    def _answer(
        self, number: int, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]
    ) -> None:
        if number not in self._waiting:
            self._undo(answer, fds)
            return
        on_answer, timer = self._waiting.pop(number)
        timer.cancel()
        on_answer(answer, fds)

    def _undo(self, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
        """A start that was given up came true after all: nobody would ever end it."""
        container_stream.close_all(fds)
        if isinstance(answer, dict) and fds and answer.get("container"):
            request = {"container": answer["container"]}
            self.ask("kill", request, lambda *_: None, _UNDO_S)

    def _miss(self, number: int, do: str, timeout_s: float) -> None:
        self._answer(
            number, faults.EngineDownError(f"no answer to {do!r} within {timeout_s:g} s"), ()
        )

    def _restart(self) -> None:
        self._let_go()
        if self._is_closed:
            return
        _log.error("the clerk is gone", extra={"event": "clerk.gone"})
        for number in tuple(self._waiting):
            self._answer(number, EngineError("the clerk died while it was at it"), ())
        self._loop.call_later(_AGAIN_S, self._open_again)

    def _open_again(self) -> None:
        if not self._is_closed and self._end is None:
            self.open()

    def _let_go(self) -> None:
        if self._end is not None:
            self._loop.forget(self._end.fileno())
            self._end.close()
            self._end = None
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            self._process = None


def _descriptors(beside: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return tuple(fds)
