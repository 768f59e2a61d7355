"""The manager's side of the render server: start it, ask it, replace it when it is gone.

It goes by itself when nobody asks; whoever hears that somebody will ask soon calls `wake`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
from typing import Final

import msgspec

from chamberlain_endpoint.manager.render import framing
from chamberlain_endpoint.manager.render.job import (
    Answer,
    Rendered,
    RenderJob,
    RenderRefusedError,
)
from chamberlain_wire.errors import ErrorCode

log = logging.getLogger(__name__)

_BEGIN_S: Final = 15.0
"""How long a server that was just started may import before it begins."""

_ANSWER_S: Final = 4.3
_STOP_S: Final = 5.0
_DYING_S: Final = 0.1
_MODULE: Final = "chamberlain_endpoint.manager.render.server"


class RenderServer:
    """Keeps the promise of `job.Renderer` with a server process of its own.

    Args:
        idle_s: after how long without a question the process ends; None: its default.
    """

    def __init__(self, *, idle_s: float | None = None) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def wake(self) -> None:
        """Start the server if it does not run. It imports while others go on; a render waits.

        When it cannot be started now, the render tries again and says so; nothing else stops.
        """
        try:
            with self._lock:
                self._ensure()
        except OSError as error:
            log.warning(
                "render server does not start",
                extra={"event": "render.server_gone", "reason": str(error)},
            )

    def close(self) -> None:
        """End the server and what it still renders."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def render(self, job: RenderJob) -> Rendered:
        """See `job.Renderer.render`."""
        answer = self._ask(job)
        if answer is None and self._is_gone():
            # It was the server that died, which tells nothing of the template.
            answer = self._ask(job)
        if answer is None:
            raise RenderRefusedError(
                ErrorCode.TEMPLATE_FAILED,
                "The configuration cannot be made from these options: "
                "it needs more time or memory than it may have.",
            )
        if answer.refusal is not None:
            raise RenderRefusedError(answer.refusal.code, answer.refusal.public)
        assert answer.rendered is not None
        return answer.rendered

    def _ask(self, job: RenderJob) -> Answer | None:
        """Return the answer of a child; None when it ended, or did not end, without one."""
        ours, theirs = socket.socketpair()
        with ours:
            try:
                with theirs:
                    self._hand_over(theirs)
                ours.settimeout(_BEGIN_S)
                framing.send(ours, msgspec.json.encode(job))
                framing.receive(ours)
                ours.settimeout(_ANSWER_S)
                return msgspec.json.decode(framing.receive(ours), type=Answer)
            except (OSError, framing.CutOffError) as error:
                log.warning(
                    "render without an answer",
                    extra={"event": "render.lost", "reason": repr(error)},
                )
        return None

    def _is_gone(self) -> bool:
        """Tell whether the server ended; its last connection may break a moment before."""
        with self._lock:
            if self._process is None:
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_DYING_S)
            return self._process.poll() is not None

    def _hand_over(self, request: socket.socket) -> None:
        with self._lock:
            self._ensure()
            assert self._control is not None
            socket.send_fds(self._control, [b"r"], [request.fileno()])

    def _ensure(self) -> None:
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            if code != 0:
                log.warning("render server is gone", extra={"event": "render.server_gone"})
        # Also what is left of a start that failed.
        self._end()
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        idle = () if self._idle_s is None else (str(self._idle_s),)
        self._control = ours
        with theirs:
            # -I: neither the environment nor the working directory chooses what it imports.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", _MODULE, *idle],
                stdin=theirs.fileno(),
                env={"LANG": "C.UTF-8"},
                # A signal to the manager's group must not refuse what is being rendered.
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None
