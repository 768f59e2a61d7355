"""Starts a program of ours that takes an order on a descriptor: a keeper, or a holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chamberlain_endpoint.launcher.runtime.child import KILL_ALL

_KEPT_BLOCKED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, KILL_ALL})


def spawn(
    module: str, order: bytes, given: tuple[int, ...], streams: int
) -> subprocess.Popen[bytes]:
    """Start `module` of ours; its first argument names the descriptor of `order`.

    Args:
        given: descriptors that it gets beside it.
        streams: what its three standard streams are, as for `subprocess`.

    Raises:
        OSError: it could not be started.
    """
    told = os.memfd_create("order")
    try:
        with os.fdopen(os.dup(told), "wb") as file:
            file.write(order)
        os.lseek(told, 0, os.SEEK_SET)
        with _blocked_signals():
            return subprocess.Popen(
                # -I: no variable and no package of a user's changes what root runs.
                [sys.executable, "-I", "-m", module, str(told)],
                stdin=streams,
                stdout=streams,
                stderr=streams,
                bufsize=0,
                pass_fds=(told, *given),
                env={"LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
    finally:
        os.close(told)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    # It inherits the mask: a stop that comes while it still starts is kept for it. An init
    # without a handler would never hear of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
