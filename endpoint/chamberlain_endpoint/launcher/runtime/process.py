"""Runs user endpoints as processes of this host.

Each gets a fresh keeper (see `child`), in a PID namespace of its own where the kernel allows
it. The launcher holds four pipes of each: standard input for the first line and the lease,
standard output (records of tasks, where they are wanted), standard error (only its tail is
kept), and the keeper's report. The
report pipe closes when the keeper is gone, which works on every kernel and in any thread,
unlike pidfds and SIGCHLD.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher import privileges
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime import child, folders
from chamberlain_endpoint.launcher.runtime.port import (
    TAIL_BYTES,
    Exit,
    News,
    SessionOpened,
    StartFailedError,
    TasksSilenced,
    TasksTold,
    asks_again_s,
    unheard,
)
from chamberlain_endpoint.launcher.runtime.spawning import spawn
from chamberlain_endpoint.launcher.runtime.watched import Watched
from chamberlain_endpoint.launcher.settings import LEASE_S
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.errors import InvalidMessageError

_log: Final = logging.getLogger(__name__)

_READ_BYTES: Final = 64 * 1024
_PAUSE_S: Final = 0.01
"""Pause after a full pipe: a process that floods its error stream waits, not root."""
_LATELY_S: Final = 1.0
_REAP_S: Final = 0.001
_MAX_REAP_S: Final = 0.1
_LAST_RESORT_S: Final = 7.0
"""How long after the order to kill everything the keeper itself is killed."""
_PROBE_S: Final = 20.0
_CLOSE_S: Final = 10.0


class ProcessRuntime:
    """Starts, feeds, watches and ends user endpoints. See `port.Runtime`.

    Args:
        accounts_dir: where the accounts' folders are made.
        is_multi: user endpoints become their account; else they stay who we are.
        may_own_space: use process spaces where the kernel allows them.
        stand_in: program and arguments to run in place of every user endpoint, for tests.
        lease_s: what user endpoints are told.
    """

    def __init__(
        self,
        loop: Loop,
        accounts_dir: Path,
        *,
        is_multi: bool,
        may_own_space: bool = True,
        stand_in: tuple[str, ...] = (),
        lease_s: float = LEASE_S,
    ) -> None:
        self._loop = loop
        self._accounts_dir = accounts_dir
        self._is_multi = is_multi
        self._may_own_space = may_own_space
        self._stand_in = stand_in
        self._lease_s = lease_s
        self._is_own_space = False
        self._processes: dict[str, Watched] = {}
        self._on_exit: Callable[[Exit], None] | None = None
        self._on_news: Callable[[News], None] = unheard

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Find out what the kernel allows, and begin to renew leases."""
        self._on_exit = on_exit
        self._on_news = on_news
        if self._may_own_space and os.geteuid() == 0:
            self._is_own_space = self._can_have_own_space()
        self._loop.call_later(self._lease_s / 3, self._renew_leases)

    @property
    def is_own_space(self) -> bool:
        """Whether each user endpoint gets a process space of its own."""
        return self._is_own_space

    def start(self, spec: LaunchSpec) -> None:
        """Start a user endpoint."""
        if spec.user_endpoint in self._processes:
            raise ValueError(f"{spec.user_endpoint} runs already")
        account = spec.account
        try:
            folder = folders.make_account_dir(self._accounts_dir, account.uid, account.gid)
            order = child.Order(
                is_own_space=self._is_own_space,
                is_probe=False,
                uid=account.uid if self._is_multi else None,
                gid=account.gid,
                groups=tuple(group.gid for group in account.groups),
                arguments=self._stand_in or spec.arguments,
                environment=spec.environment,
                account_dir=str(folder),
                state_name=spec.state_dir.name,
                report_fd=-1,
                pam_service=spec.pam.service if spec.pam.enable else "",
                user_name=account.uname,
                pam_timeout_s=spec.pam.timeout_s,
            )
            keeper, report = self._spawn(order)
        except OSError as error:
            raise StartFailedError(f"{spec.user_endpoint}: {error}") from error
        process = Watched(spec, keeper, report)
        self._processes[spec.user_endpoint] = process
        for fd in process.tails:
            self._watch(process, fd)
        self._feed(process)

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of its keeper."""
        process = self._processes.get(user_endpoint)
        return 0 if process is None else process.keeper.pid

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs."""
        return user_endpoint in self._processes

    def stays(self, user_endpoint: str) -> bool:
        """Tell that nothing goes on: each ends with the launcher that started it."""
        return False

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`."""
        process = self._processes.get(user_endpoint)
        if process is None:
            return
        kill_at = time.monotonic() + grace_s

        def ask() -> None:
            process.keeper.send_signal(signal.SIGTERM)

        if process.kill_at == float("inf"):
            ask()
        if kill_at < process.kill_at:
            process.kill_at = kill_at
            self._loop.call_later(asks_again_s(grace_s), ask)
            if process.kill_timer is not None:
                process.kill_timer.cancel()
            process.kill_timer = self._loop.call_later(grace_s, lambda: self._kill(process))

    def close(self) -> None:
        """Kill what still runs and wait for it."""
        until = time.monotonic() + _CLOSE_S
        for process in self._processes.values():
            at_once = self._is_own_space and not process.has_session
            process.keeper.send_signal(signal.SIGKILL if at_once else child.KILL_ALL)
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.keeper.wait(max(0.0, until - time.monotonic()))
            process.keeper.kill()
            self._let_go(process)
        self._processes.clear()

    def _kill(self, process: Watched) -> None:
        process.keeper.send_signal(child.KILL_ALL)
        process.kill_timer = self._loop.call_later(_LAST_RESORT_S, process.keeper.kill)

    def _spawn(self, order: child.Order) -> tuple[subprocess.Popen[bytes], int]:
        report, report_end = os.pipe()
        try:
            space = privileges.new_process_space() if order.is_own_space else nullcontext()
            with space:
                told = order._replace(report_fd=report_end).to_bytes()
                keeper = spawn(child.__name__, told, (report_end,), subprocess.PIPE)
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(report_end)
        return keeper, report

    def _can_have_own_space(self) -> bool:
        probe = child.Order(
            is_own_space=True,
            is_probe=True,
            uid=None,
            gid=-1,
            groups=(),
            arguments=(),
            environment={},
            account_dir="",
            state_name="",
            report_fd=-1,
        )
        try:
            keeper, report = self._spawn(probe)
        except OSError as error:
            reason = str(error)
        else:
            with keeper, os.fdopen(report, "rb") as file:
                # Standard input stays open until it is gone: it looks whether we live.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    keeper.wait(_PROBE_S)
                keeper.kill()
                reason = file.read(TAIL_BYTES).decode(errors="replace")
            if keeper.returncode == 0:
                return True
        _log.warning(
            "no process space of its own for user endpoints; their trees are swept instead",
            extra={"event": "runtime.no_own_space", "reason": reason},
        )
        return False

    def _watch(self, process: Watched, fd: int) -> None:
        self._loop.on_readable(fd, lambda: self._drain(process, fd))

    def _drain(self, process: Watched, fd: int) -> None:
        """Take what is there now, once."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        began = time.monotonic()
        self._take(process, fd, data)
        if fd not in process.tails:
            return
        if not data:
            self._loop.forget(fd)
            if fd == process.report:
                self._collect(process)
        elif fd == process.stdout and process.tells_tasks:
            process.told_at = time.monotonic()
            self._pause(process, fd, self._rest_s(process.told_at - began))
        elif len(data) == _READ_BYTES:
            self._pause(process, fd, _PAUSE_S)

    def _pause(self, process: Watched, fd: int, pause_s: float) -> None:
        self._loop.forget(fd)
        self._loop.call_later(pause_s, lambda: self._watch_again(process, fd))

    def _rest_s(self, took_s: float) -> float:
        """Return how long not to listen to one that tells of tasks, after `took_s` of it.

        However many tell however much, two thirds of our time stay for requests.
        """
        lately = time.monotonic() - _LATELY_S
        telling = sum(process.told_at > lately for process in self._processes.values())
        return max(_PAUSE_S, 2 * took_s * telling)

    def _take(self, process: Watched, fd: int, data: bytes) -> None:
        if fd == process.report:
            if process.hear_report(data):
                self._on_news(SessionOpened(process.user_endpoint))
            return
        if fd != process.stdout or not process.tells_tasks:
            process.keep(fd, data)
            return
        try:
            claims = process.hear_tasks(data)
        except InvalidMessageError as error:
            self._loop.forget(fd)
            process.silence()
            self._on_news(TasksSilenced(process.user_endpoint, str(error)))
            return
        if claims:
            self._on_news(TasksTold(process.user_endpoint, claims))

    def _watch_again(self, process: Watched, fd: int) -> None:
        if self._processes.get(process.user_endpoint) is process and fd in process.tails:
            self._watch(process, fd)

    def _feed(self, process: Watched) -> None:
        """Write what waits to standard input, as far as it goes without waiting."""
        try:
            written = os.write(process.stdin, process.waiting)
        except BlockingIOError:
            written = 0
        except OSError:
            # It closed its input. That is its own loss: it will miss its lease.
            process.waiting.clear()
            self._loop.forget(process.stdin)
            return
        del process.waiting[:written]
        more = (lambda: self._feed(process)) if process.waiting else None
        self._loop.on_writable(process.stdin, more)

    def _renew_leases(self) -> None:
        for process in self._processes.values():
            if not process.waiting:
                process.waiting += b"\n"
                self._feed(process)
        self._loop.call_later(self._lease_s / 3, self._renew_leases)

    def _collect(self, process: Watched, wait_s: float = _REAP_S) -> None:
        """Tell of the end once the kernel has let go of the keeper."""
        if process.keeper.poll() is None:
            # Soon as a rule; long when a process below hangs in a file system.
            longer_s = min(2 * wait_s, _MAX_REAP_S)
            self._loop.call_later(wait_s, lambda: self._collect(process, longer_s))
            return
        for fd in tuple(process.tails):
            if fd != process.report:
                with contextlib.suppress(OSError):
                    self._take(process, fd, os.read(fd, _READ_BYTES))
        del self._processes[process.user_endpoint]
        self._let_go(process)
        assert self._on_exit is not None, "open() comes first"
        self._on_exit(process.exit())

    def _let_go(self, process: Watched) -> None:
        if process.kill_timer is not None:
            process.kill_timer.cancel()
        for fd in (process.stdin, *process.tails):
            self._loop.forget(fd)
        process.close()
