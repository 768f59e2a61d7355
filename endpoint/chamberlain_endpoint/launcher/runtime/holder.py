"""The process that holds the PAM session of one user endpoint in a container.

Started as `python -I -m chamberlain_endpoint.launcher.runtime.holder FD`, with an order on that
descriptor. A container is the engine's child, so it has no keeper: this process stands beside
it, opens the session before the engine is asked, tells what limits and variables it brings, and
closes it when the container's first process is gone. It outlives the launcher, as the container
does. The state file, locked for as long as the session is open, tells any launcher that it is
held, and in the end how it was closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Final

from chamberlain_endpoint.launcher import privileges
from chamberlain_endpoint.launcher.runtime import below
from chamberlain_endpoint.launcher.runtime.child import KILL_ALL, told_of
from chamberlain_endpoint.launcher.runtime.holder_order import Order
from chamberlain_endpoint.launcher.runtime.pam import Session
from chamberlain_endpoint.launcher.runtime.session import Kept
from chamberlain_wire.errors import ChamberlainError

_FAILED_CODE: Final = 70
_LOOKS_S: Final = 1.0
_READ_WITHIN_S: Final = 10.0
"""How long the word of the end waits for a launcher to take it."""
_READ_STEP_S: Final = 0.03
_PID_BYTES: Final = 16


def main() -> int:
    """Hold the session that the order on the descriptor of the first argument describes."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        order = Order.from_bytes(file.read())
    channel = socket.socket(fileno=order.channel_fd)
    channel.set_inheritable(False)
    channel.setblocking(True)
    # What modules start and leave is found, and goes with us.
    privileges.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, KILL_ALL})
    try:
        state = os.open(order.state, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(state, fcntl.LOCK_EX)
    except OSError as error:
        _tell(channel, told_of(error))
        return _FAILED_CODE
    try:
        return _hold(order, channel, state)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(order.state)  # noqa: PTH108 (pathlib is not loaded here)


def _hold(order: Order, channel: socket.socket, state: int) -> int:
    is_open = False

    def report(told: dict[str, object]) -> None:
        if is_open:
            # The last word. A launcher that has just gone finds it in the file.
            os.pwrite(state, json.dumps(told).encode(), 0)
        else:
            _tell(channel, told)

    kept = Kept(Session(order.service, order.user), KILL_ALL, report, give_up=below.sweep)
    before = _limits()
    try:
        variables = kept.open(order.timeout_s)
    except (OSError, ChamberlainError) as error:
        report(told_of(error))
        return _FAILED_CODE
    is_open = True
    after = _limits()
    changed = {name: after[name] for name in after if after[name] != before[name]}
    _tell(channel, {"limits": changed, "environment": variables})
    _wait_for_the_end(order, channel)
    below.sweep()
    kept.close()
    _wait_until_read(order, state)
    return 0


def _wait_for_the_end(order: Order, channel: socket.socket) -> None:
    """Return when the container's first process is gone, and with it all that it had started."""
    process = _process(channel)
    if process >= 0:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.poll()
        return
    # No container came of it, or nobody could tell us: whoever removes it removes this file.
    while os.path.exists(order.lease):  # noqa: PTH110 (pathlib is not loaded here)
        time.sleep(_LOOKS_S)
        below.reap(0)


def _process(channel: socket.socket) -> int:
    with contextlib.suppress(OSError):
        _, descriptors, _, _ = socket.recv_fds(channel, _PID_BYTES, 1)
        if descriptors:
            return descriptors[0]
    return -1


def _wait_until_read(order: Order, state: int) -> None:
    os.close(state)
    until = time.monotonic() + _READ_WITHIN_S
    while os.path.exists(order.state) and time.monotonic() < until:  # noqa: PTH110
        time.sleep(_READ_STEP_S)


def _limits() -> dict[str, tuple[int, int]]:
    """Return soft and hard limit by name, as limits.conf and engines call them; -1: none."""
    found = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE":
            with contextlib.suppress(OSError, ValueError):
                kind = name.removeprefix("RLIMIT_").lower()
                found[kind] = resource.getrlimit(getattr(resource, name))
    return found


def _tell(channel: socket.socket, told: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    # No teardown of the interpreter: nothing of ours is left to be flushed.
    os._exit(main())
