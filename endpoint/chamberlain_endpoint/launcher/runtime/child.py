"""The fresh process between the launcher and one user endpoint. Standard library only.

Started as `python -I -m chamberlain_endpoint.launcher.runtime.child FD`, where FD is an open
file with an `Order`. It forks the user endpoint and stays as its keeper: it passes SIGTERM
on, reports how the user endpoint ended, and sees to it that nothing is left behind.

In a process space of its own (the launcher forked it into a new PID namespace) it is that
space's init: when it ends, or is killed, the kernel kills everything in it, however often it
forked or called setsid. Without that right it adopts every orphan below it and kills them
one by one. It keeps the launcher's uid in both forms, so that no process of the account can
kill or stop it and escape; it reads nothing that the account writes.

Where PAM is on, the account's session is the keeper's: opened before the fork, so that limits
set in it are inherited, and closed when nothing of the user endpoint runs any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from chamberlain_endpoint.launcher import privileges
from chamberlain_endpoint.launcher.runtime import below
from chamberlain_wire.errors import ChamberlainError

if TYPE_CHECKING:
    from chamberlain_endpoint.launcher.runtime.session import Kept

KILL_ALL: Final = signal.SIGUSR1
"""What the launcher sends to a keeper without a process space, to end everything at once."""

_FAILED_CODE: Final = 70
_MOST_OPEN_FILES: Final = 65536


class Order(NamedTuple):
    """What the launcher wants of its child.

    A named tuple, not a dataclass: a fifth of the time until a user endpoint starts would go
    into importing `dataclasses`.

    Attributes:
        is_probe: only try whether all namespaces can be had.
        uid: become this account; None: stay who you are.
        account_dir: folder of the account, which the launcher made.
        report_fd: where to write how it ended.
        pam_service: open a PAM session as this service; empty: none.
        user_name: the account's name, for PAM.
        pam_timeout_s: how long the modules may take to open it.
    """

    is_own_space: bool
    is_probe: bool
    uid: int | None
    gid: int
    groups: tuple[int, ...]
    arguments: tuple[str, ...]
    environment: dict[str, str]
    account_dir: str
    state_name: str
    report_fd: int
    pam_service: str = ""
    user_name: str = ""
    pam_timeout_s: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the order in the form that travels."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Order:
        """Return the order that `to_bytes` wrote."""
        fields = json.loads(data)
        fields["groups"] = tuple(fields["groups"])
        fields["arguments"] = tuple(fields["arguments"])
        return cls(**fields)


def main() -> int:
    """Carry out the order on the descriptor that the first argument names."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        order = Order.from_bytes(file.read())
    os.set_inheritable(order.report_fd, False)
    try:
        _prepare(order)
        if order.is_probe:
            return 0
        return _keep(order)
    except (OSError, ChamberlainError) as error:
        _report(order, told_of(error))
        return _FAILED_CODE


def _prepare(order: Order) -> None:
    # With a session we must hear of the launcher's end, to close it; without one, in a
    # process space, the kernel does all there is to do.
    dies_at_once = order.is_own_space and not order.pam_service
    privileges.end_with_parent(signal.SIGKILL if dies_at_once else KILL_ALL)
    # The launcher holds the other end of standard input. If it ended before the line above,
    # nobody will ever send that signal.
    poll = select.poll()
    poll.register(0, select.POLLHUP)
    if any(events & select.POLLHUP for _, events in poll.poll(0)):
        raise privileges.PrivilegeError("the launcher is gone")
    if order.is_own_space:
        privileges.show_own_processes_only()
    else:
        privileges.adopt_orphans()


def _keep(order: Order) -> int:
    waited = {signal.SIGCHLD, signal.SIGTERM, KILL_ALL}
    # Blocked before the fork, so that none is lost between it and the wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    # Neither modules of PAM nor the keeper may read the order or hold the pipes open.
    streams = _put_aside_standard_streams()
    session, variables = _open_session(order) if order.pam_service else (None, {})
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _restore_standard_streams(streams)
        _run(order._replace(environment={**variables, **order.environment}), keeper)
    for fd in streams:
        os.close(fd)
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            status = below.reap(pid)
            if status is not None:
                return _finish(order, status, session)
        elif number == signal.SIGTERM:
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)


def _open_session(order: Order) -> tuple[Kept, dict[str, str]]:
    # Here and not above: without PAM nobody pays for loading it.
    from chamberlain_endpoint.launcher.runtime.pam import Session
    from chamberlain_endpoint.launcher.runtime.session import Kept

    # Before the modules, which may set it otherwise; what the session says holds.
    _limit_open_files()
    kept = Kept(
        Session(order.pam_service, order.user_name),
        KILL_ALL,
        report=lambda told: _report(order, told),
        give_up=below.sweep,
    )
    return kept, kept.open(order.pam_timeout_s)


def _finish(order: Order, status: int, session: Kept | None) -> int:
    left = below.sweep() if session is not None or not order.is_own_space else 0
    if session is not None:
        session.close()
    how = "signal" if os.WIFSIGNALED(status) else "exit"
    number = os.WTERMSIG(status) if how == "signal" else os.WEXITSTATUS(status)
    _report(order, {how: number, "left": 0 if order.is_own_space else left})
    return 0


def _run(order: Order, keeper: int) -> None:
    """Become the user endpoint. Never returns."""
    try:
        os.setsid()
        _reset_signals()
        os.umask(0o077)
        # A core file would hold the credentials.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not order.pam_service:
            _limit_open_files()
        if order.uid is None:
            privileges.forbid_new_privileges()
        else:
            # The pipes become the account's own: a program that opens /dev/stderr by its
            # name is let in by the owner of the pipe, not by the open descriptor.
            for fd in (0, 1, 2):
                os.fchown(fd, order.uid, order.gid)
            privileges.become(order.uid, order.gid, order.groups)
        _enter_state_dir(order)
        privileges.end_with_parent(signal.SIGKILL)
        if os.getppid() != keeper:
            raise privileges.PrivilegeError("the keeper is gone")
        os.execve(order.arguments[0], order.arguments, order.environment)  # noqa: S606
    except (OSError, ChamberlainError) as error:
        _report(order, {"failed": f"{order.arguments[0]}: {error}"})
    finally:
        os._exit(_FAILED_CODE)


def _enter_state_dir(order: Order) -> None:
    # As the account, step by step: what stands below its own folder is under its control,
    # and a link there must lead it nowhere that it could not go by itself.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    account = os.open(order.account_dir, flags)
    with contextlib.suppress(FileExistsError):
        os.mkdir(order.state_name, 0o700, dir_fd=account)
    state = os.open(order.state_name, flags, dir_fd=account)
    os.close(account)
    seen = os.fstat(state)
    if seen.st_uid != os.geteuid():
        raise PermissionError(f"{order.state_name} belongs to uid {seen.st_uid}")
    if stat.S_IMODE(seen.st_mode) != 0o700:
        os.fchmod(state, 0o700)
    os.fchdir(state)
    os.close(state)


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # The C library keeps some numbers for itself and says so.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _limit_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _put_aside_standard_streams() -> tuple[int, ...]:
    # As long as the keeper had them, the launcher could not tell that the user endpoint
    # closed them.
    kept = tuple(os.dup(fd) for fd in (0, 1, 2))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    return kept


def _restore_standard_streams(kept: tuple[int, ...]) -> None:
    for fd, stream in enumerate(kept):
        os.dup2(stream, fd)


def told_of(error: Exception) -> dict[str, object]:
    """Return what the launcher is told of a start that failed."""
    word = getattr(error, "word", None)
    if word is None:
        return {"failed": str(error)}
    return {"failed": str(error), "code": str(word), "public": getattr(error, "public", "")}


def _report(order: Order, told: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(order.report_fd, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    # No teardown of the interpreter: nothing of ours is left to be flushed.
    os._exit(main())
