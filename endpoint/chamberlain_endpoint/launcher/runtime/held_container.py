"""One container, from the wish to its end: its stream, its process, the signals it gets.

Its end is told by a descriptor of its first process, at once and without the engine; the
engine is asked afterwards, for the exit code.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime.clerk_link import ClerkLink
from chamberlain_endpoint.launcher.runtime.container_records import Record
from chamberlain_endpoint.launcher.runtime.container_stream import ContainerStream
from chamberlain_endpoint.launcher.runtime.faults import EngineError
from chamberlain_endpoint.launcher.runtime.held_session import HeldSession
from chamberlain_endpoint.launcher.runtime.port import (
    Exit,
    News,
    TasksSilenced,
    TasksTold,
    asks_again_s,
)
from chamberlain_endpoint.launcher.runtime.task_hearing import TaskHearing
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.errors import InvalidMessageError

_log: Final = logging.getLogger(__name__)

_ASK_S: Final = 30.0
_AGAIN_S: Final = 1.0
_SIGNAL_BASE: Final = 128


@dataclass(frozen=True, slots=True)
class Means:
    """What a container needs of the runtime that holds it.

    Attributes:
        known: returns what the clerk needs to judge a container that runs already.
        on_end: called once when it is gone and the engine keeps nothing of it.
        on_news: hears what it tells of its tasks.
    """

    known: Callable[[HeldContainer], dict[str, Any]]
    on_end: Callable[[HeldContainer, Exit], None]
    on_news: Callable[[News], None]


class HeldContainer:
    """A container that is wished, runs, or is just ending. Call it from the loop's thread.

    Attributes:
        spec: what it was started with; None: an earlier launcher started it.
        session: of PAM, that spans its life; None: it has none.
        id: the engine's name for it; empty until it is made.
        pid: of its first process, as the host sees it; 0 until it runs.
        is_stopping: it was asked to end.
        is_ending: its process is gone.
    """

    def __init__(
        self,
        loop: Loop,
        link: ClerkLink,
        record: Record,
        spec: LaunchSpec | None,
        means: Means,
        session: HeldSession | None = None,
    ) -> None:
        self.record = record
        self.spec = spec
        self.session = session
        self.id = ""
        self.pid = 0
        self.is_stopping = False
        self.is_ending = False
        self.stream = ContainerStream(
            spec.first_line if spec is not None else b"", self._hear_tasks
        )
        self._hearing = TaskHearing() if record.tells_tasks else None
        if spec is None:
            self._lose_the_thread()
        self._loop = loop
        self._link = link
        self._means = means
        self._pidfd = -1
        self._kill_at = float("inf")
        self._is_gone = False

    def hold(self, answer: dict[str, Any], fds: tuple[int, ...]) -> None:
        """Take the descriptors of a container that runs; carry out what was asked before."""
        self.id, self.pid = answer["container"], answer["pid"]
        self.stream.open(self._loop, fds[0], self._stream_ended)
        if len(fds) > 1:
            self._pidfd = fds[1]
            self._loop.on_readable(self._pidfd, self._process_ended)
        if self.session is not None and self.spec is not None:
            self.session.tell_process(self._pidfd)
        if self.is_stopping:
            self.signal(signal.SIGTERM)
            # The kernel drops it for a first process that is not yet far enough to take it.
            self._loop.call_later(_AGAIN_S, lambda: self.signal(signal.SIGTERM))
        if self._kill_at <= time.monotonic():
            self.signal(signal.SIGKILL)

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`."""
        if not self.is_stopping:
            self.is_stopping = True
            self.signal(signal.SIGTERM)
        kill_at = time.monotonic() + grace_s
        if kill_at < self._kill_at:
            self._kill_at = kill_at
            self._loop.call_later(asks_again_s(grace_s), lambda: self.signal(signal.SIGTERM))
            self._loop.call_later(grace_s, lambda: self.signal(signal.SIGKILL))

    def signal(self, number: int) -> None:
        """Pass a signal to its first process, without the engine where the kernel can."""
        if self._is_gone:
            return
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
        elif self.id:
            request = {"container": self.id, "signal": number}
            self._link.ask("signal", request, lambda *_: None, _ASK_S)
        elif self.session is not None:
            self.session.signal(number)

    def end_without_session(self) -> None:
        """Kill it if its session was to span its life, and nobody holds it any more."""
        if self.session is None or not self.pid or self.is_ending:
            return
        if self.session.is_lost():
            _log.error(
                "the holder of a session is gone; its user endpoint is ended",
                extra={
                    "event": "session.lost",
                    "user_endpoint": self.record.user_endpoint,
                    "account": self.record.account,
                },
            )
            self.stop(0.0)

    def let_go(self) -> None:
        """Close what is held; the container itself is not touched."""
        self._is_gone = True
        self.stream.close()
        if self._pidfd >= 0:
            self._loop.forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self.session is not None:
            self.session.let_go()

    def leave(self) -> None:
        """Leave the container to the next launcher."""
        self.let_go()
        if self.session is not None:
            self.session.leave()

    def _hear_tasks(self, data: bytes) -> None:
        if self._hearing is None:
            return
        name = self.record.user_endpoint
        try:
            told = self._hearing.hear(data)
        except InvalidMessageError as error:
            self._hearing = None
            self._means.on_news(TasksSilenced(name, str(error)))
            return
        if told:
            self._means.on_news(TasksTold(name, told))

    def _process_ended(self) -> None:
        self._loop.forget(self._pidfd)
        self._end()

    def _stream_ended(self) -> None:
        """Find out whether the container ended, or the engine only hung up."""
        if self.is_ending or self._is_gone:
            return
        if self._pidfd < 0:
            self._end()
        else:
            self._loop.call_later(_AGAIN_S, self._attach_again)

    def _attach_again(self) -> None:
        if not self.is_ending and not self._is_gone:
            self._link.ask("attach", self._means.known(self), self._attached, _ASK_S)

    def _attached(self, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
        for fd in fds[1:]:
            os.close(fd)
        if isinstance(answer, EngineError) or not fds:
            self._stream_ended()
        elif self.is_ending or self._is_gone:
            os.close(fds[0])
        else:
            self._lose_the_thread()
            self.stream.open(self._loop, fds[0], self._stream_ended)

    def _lose_the_thread(self) -> None:
        # What came while nobody was attached is lost, perhaps within a record.
        if self._hearing is not None:
            self._hearing.begin_anywhere()

    def _end(self) -> None:
        """Have the engine tell how it ended and remove it."""
        self.is_ending = True
        if not self._is_gone:
            self._link.ask("remove", {"container": self.id}, self._removed, 2 * _ASK_S)

    def _removed(self, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
        if isinstance(answer, EngineError):
            # The process is gone, whatever the engine says; it is asked until it answers.
            self._loop.call_later(_AGAIN_S, self._end)
        elif not self._is_gone:
            self.stream.drain()
            self._means.on_end(self, self._exit(answer["state"]))

    def _exit(self, state: dict[str, Any] | None) -> Exit:
        tail, name = self.stream.tail, self.record.user_endpoint
        if state is None:
            return Exit(name, None, signal.SIGKILL, tail)
        if state["oom"]:
            tail += b"\nended: it used more memory than the site's limit allows\n"
        code = state["exit_code"]
        # As every shell and engine tells it: 128 and the number of the signal.
        if _SIGNAL_BASE < code < _SIGNAL_BASE + signal.NSIG:
            return Exit(name, None, code - _SIGNAL_BASE, tail)
        return Exit(name, code, None, tail)
