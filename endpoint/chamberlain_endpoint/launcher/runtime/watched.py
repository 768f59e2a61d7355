"""One user endpoint as the launcher sees it: its keeper, four pipes, and what they told."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from dataclasses import replace
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Timer
from chamberlain_endpoint.launcher.runtime.port import TAIL_BYTES, Exit, did_not_begin
from chamberlain_endpoint.launcher.runtime.task_hearing import TaskHearing
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire import claims

_OPENED: Final = "opened"


class Watched:
    """The keeper of one user endpoint and its pipes.

    Attributes:
        waiting: what is still to be written to its standard input.
        tails: what was read last, by descriptor; complete records and reports are taken out.
        stdout: -1 when it is not read any more.
        told_at: when it last told of tasks, by the monotonic clock.
    """

    def __init__(self, spec: LaunchSpec, keeper: subprocess.Popen[bytes], report: int) -> None:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        self.user_endpoint = spec.user_endpoint
        self.keeper = keeper
        self.has_session = spec.pam.enable
        self.tells_tasks = spec.tells_tasks
        self.stdin = keeper.stdin.fileno()
        self.waiting = bytearray(spec.first_line)
        self.stdout = keeper.stdout.fileno()
        self.stderr = keeper.stderr.fileno()
        self.report = report
        self.tails = {fd: bytearray() for fd in (self.stdout, self.stderr, report)}
        self.told_at = float("-inf")
        self.kill_at = float("inf")
        self.kill_timer: Timer | None = None
        self._told: dict[str, Any] = {}
        self._hearing = TaskHearing()
        for fd in (self.stdin, *self.tails):
            os.set_blocking(fd, False)

    def keep(self, fd: int, data: bytes) -> None:
        """Keep the tail of what came from a pipe that is not looked at."""
        tail = self.tails[fd]
        tail += data
        del tail[:-TAIL_BYTES]

    def hear_report(self, data: bytes) -> bool:
        """Take what the keeper wrote; True when it has just opened a session."""
        before = self._told.get("session")
        buffer = self.tails[self.report]
        buffer += data
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        for line in lines:
            self._told.update(json.loads(line))
        return before is None and self._told.get("session") == _OPENED

    def hear_tasks(self, data: bytes) -> tuple[claims.Claim, ...]:
        """Return the claims that are complete with `data`.

        Raises:
            InvalidMessageError: it sends something else, or too much. `silence` it.
        """
        return self._hearing.hear(data)

    def silence(self) -> None:
        """Let go of its standard output; whoever writes there learns it."""
        assert self.keeper.stdout is not None
        del self.tails[self.stdout]
        self.stdout = -1
        self.keeper.stdout.close()

    def close(self) -> None:
        """Close all pipes."""
        for stream in (self.keeper.stdin, self.keeper.stdout, self.keeper.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        os.close(self.report)

    def exit(self) -> Exit:
        """Return how it ended; only when the keeper is gone and the pipes are read."""
        tail, told = bytes(self.tails[self.stderr]), self._told
        session = _session(told, ended="exit" in told or "signal" in told)
        # First what the fork said that could not run, then what the keeper saw of its end.
        if "failed" in told:
            return replace(did_not_begin(self.user_endpoint, told), tail=tail, session=session)
        if "exit" in told or "signal" in told:
            code, number, left = told.get("exit"), told.get("signal"), told.get("left", 0)
            return Exit(self.user_endpoint, code, number, tail, left=left, session=session)
        code = self.keeper.returncode
        if code < 0:
            return Exit(self.user_endpoint, None, -code, tail, session=session)
        failure = "" if session else "the keeper told nothing"
        return Exit(self.user_endpoint, code, None, tail, failure=failure, session=session)


def _session(told: dict[str, Any], *, ended: bool) -> str:
    last = str(told.get("session", ""))
    if last == _OPENED and not ended:
        return "not closed: the keeper was killed"
    return last
