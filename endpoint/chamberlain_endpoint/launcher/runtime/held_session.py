"""The launcher's end of a container's PAM session: opens it, looks after it, hears of its end.

The session itself is a holder's (see `holder`), which outlives the launcher. So nothing that a
later launcher needs is kept here: whether a session is held, and how it was closed, stands in
its file, which is locked for as long as the session is open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime.child import KILL_ALL
from chamberlain_endpoint.launcher.runtime.holder_order import Order
from chamberlain_endpoint.launcher.runtime.spawning import spawn
from chamberlain_endpoint.launcher.settings import PamSettings

_MODULE: Final = "chamberlain_endpoint.launcher.runtime.holder"
_READ_BYTES: Final = 64 * 1024
_CLOSES_S: Final = 12.0
"""Longer than a holder gives the modules to close it."""
_STEP_S: Final = 0.03
_KILLED: Final = "not closed: its holder was killed"
_STUCK: Final = f"not closed: its holder did not end within {_CLOSES_S:g} s"


@dataclass(frozen=True, slots=True)
class Opened:
    """What the account's session brings to what runs in it.

    Attributes:
        limits: soft and hard limit by name, of those that the session set; -1: none.
    """

    limits: Mapping[str, tuple[int, int]]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what comes of a session; one of the two is called, once.

    Attributes:
        on_opened: it is open, and held.
        on_refused: it is not; takes `failed`, and perhaps `code` and `public`.
    """

    on_opened: Callable[[Opened], None]
    on_refused: Callable[[dict[str, Any]], None]


class HeldSession:
    """One session, from the wish to its end. Call it from the loop's thread.

    Args:
        folder: of the sessions' files, root's own.
        generation: of the container.
    """

    def __init__(self, loop: Loop, folder: Path, generation: str) -> None:
        self._loop = loop
        self._file = folder / generation
        self._channel: socket.socket | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._listener: Listener | None = None
        self._heard = bytearray()

    def open(self, pam: PamSettings, user: str, lease: Path, listener: Listener) -> None:
        """Begin to open it.

        Raises:
            OSError: no holder could be started.
        """
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        ours, its = socket.socketpair()
        order = Order(pam.service, user, pam.timeout_s, str(lease), str(self._file), its.fileno())
        try:
            self._holder = spawn(_MODULE, order.to_bytes(), (its.fileno(),), subprocess.DEVNULL)
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        ours.setblocking(False)
        self._channel, self._listener = ours, listener
        self._loop.on_readable(ours.fileno(), self._hear)

    def signal(self, number: int) -> None:
        """Pass on, while it is being opened, that the user endpoint has to end."""
        if self._listener is not None and self._holder is not None:
            self._holder.send_signal(KILL_ALL if number == signal.SIGKILL else number)

    def tell_process(self, pidfd: int) -> None:
        """Say with which process it ends; -1: with the lease file."""
        if self._channel is not None and pidfd >= 0:
            with contextlib.suppress(OSError):
                socket.send_fds(self._channel, [b"p"], [pidfd])
        self.let_go()

    def is_held(self) -> bool:
        """Tell whether somebody holds it."""
        return _is_locked(self._file)

    def is_lost(self) -> bool:
        """Tell whether its holder was killed: nobody holds it, and nobody closed it."""
        return not self.is_held() and self._last_word() == _KILLED

    def end(self, on_end: Callable[[str], None]) -> None:
        """Have `on_end` told what became of it, once its holder is through with it.

        The container's process is gone, or its lease file is.
        """
        self.let_go()
        self._wait(on_end, time.monotonic() + _CLOSES_S)

    def let_go(self) -> None:
        """Close what is held here; the session itself goes on."""
        self._listener = None
        if self._channel is not None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def leave(self) -> None:
        """Leave the holder to the next launcher."""
        self.let_go()
        if self._holder is not None:
            # Not ours any more: nobody waits for it, and nobody should be reminded to.
            self._holder.returncode = 0
            self._holder = None

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            data = self._channel.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._heard += data
        told: dict[str, Any] = {}
        for line in bytes(self._heard).split(b"\n")[:-1]:
            told.update(json.loads(line))
        listener = self._listener
        if listener is None or (data and not {"failed", "limits"} & told.keys()):
            return
        if "limits" in told and "failed" not in told:
            self._listener = None
            limits = {name: (pair[0], pair[1]) for name, pair in told["limits"].items()}
            self._loop.forget(self._channel.fileno())
            listener.on_opened(Opened(limits, told["environment"]))
            return
        self.let_go()
        told.setdefault("failed", "the holder of the PAM session was killed")
        self._wait(lambda _: listener.on_refused(told), time.monotonic() + _CLOSES_S)

    def _wait(self, on_end: Callable[[str], None], until: float) -> None:
        if self.is_held() and time.monotonic() < until:
            self._loop.call_later(_STEP_S, lambda: self._wait(on_end, until))
            return
        is_stuck = self.is_held()
        said = _STUCK if is_stuck else self._last_word()
        # By that it knows that its word was heard, and ends.
        self._file.unlink(missing_ok=True)
        if is_stuck and self._holder is not None:
            self._holder.kill()
            self.leave()
        self._reap(lambda: on_end(said))

    def _last_word(self) -> str:
        try:
            text = self._file.read_text()
        except OSError:
            return _KILLED
        return str(json.loads(text).get("session", "")) if text else _KILLED

    def _reap(self, then: Callable[[], None]) -> None:
        # One that an earlier launcher started is nobody's child any more.
        if self._holder is not None and self._holder.poll() is None:
            self._loop.call_later(_STEP_S, lambda: self._reap(then))
            return
        self._holder = None
        then()


def clean(folder: Path, kept: set[str]) -> None:
    """Remove what holders left that were killed, but for the sessions of `kept` generations."""
    with contextlib.suppress(FileNotFoundError):
        for file in folder.iterdir():
            if file.name not in kept and not _is_locked(file):
                file.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
