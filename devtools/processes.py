"""Processes that we start: each has a pid file and a log, and is ended by its pid alone."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devtools.say import CannotGoOnError

_POLL_S = 0.05


class NotUpError(CannotGoOnError):
    """A process did not do what it was started for; the message holds the end of its log."""


def wait_until(done: Callable[[], bool], limit_s: float) -> bool:
    """Return True as soon as `done()` does, False when `limit_s` seconds are over."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def started_at(pid: int) -> str | None:
    """Return when process `pid` started, in the kernel's ticks; None when it does not run.

    A process that ended and was not yet asked about by its parent does not run.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def standing_below(folder: Path) -> list[int]:
    """Return the processes whose working folder is below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink().is_relative_to(folder):
                found.append(int(entry.parent.name))
    return found


class Daemon:
    """One process in the background. Another process can find and end it by its pid file.

    Args:
        folder: holds `NAME.pid` and `NAME.log`; made by the caller.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._pid_file = folder / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        account: pwd.struct_passwd | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it, as `account` (None: as ourselves), with nothing on standard input."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment or os.environ),
                cwd="/",
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        note = {"pid": self._child.pid, "started_at": started_at(self._child.pid)}
        self._pid_file.write_text(json.dumps(note))

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        if self._child is not None:
            self._child.poll()  # a child of ours stays a zombie until we ask
        try:
            note = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        pid = int(note["pid"])
        # The number may belong to another process by now; its start time does not.
        return pid if note["started_at"] == started_at(pid) else None

    def stop(self, grace_s: float = 20.0) -> None:
        """End it and wait until it is gone; kill it after `grace_s` seconds."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            pid = self.pid
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
            if wait_until(lambda: self.pid is None, grace_s):
                break
        if self._child is not None:
            self._child.poll()  # it may have ended after the last look
        self._pid_file.unlink(missing_ok=True)

    def expect(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait until `ready()`.

        Raises:
            NotUpError: it ended, or `limit_s` seconds were not enough.
        """
        if not wait_until(lambda: self.pid is None or ready(), limit_s) or self.pid is None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise NotUpError(f"{self.name} did not come up:\n{tail}")
