"""Standard input: first the order, then the launcher's breath. When it stops, so do we."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chamberlain_endpoint.user.order import OrderInvalidError
from chamberlain_wire.limits import MAX_LAUNCH_BYTES

_CHUNK: Final = 64 * 1024
_LOOKS: Final = 10


class Lease:
    """The read end of a pipe.

    Args:
        fd: its descriptor; ours from now on.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def first_line(self, *, timeout_s: float) -> bytes:
        """Return what comes before the first newline.

        Raises:
            OrderInvalidError: none within `timeout_s`, or none at all, or too much.
        """
        deadline = time.monotonic() + timeout_s
        line = bytearray()
        while b"\n" not in line:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not select.select([self._fd], [], [], remaining_s)[0]:
                raise OrderInvalidError(f"no order came within {timeout_s:.0f} s")
            chunk = os.read(self._fd, _CHUNK)
            if not chunk:
                raise OrderInvalidError("standard input ended before the order did")
            line += chunk
            if len(line) > MAX_LAUNCH_BYTES + 1:
                raise OrderInvalidError("the order is too long")
        # What follows the newline is breath.
        return bytes(line.partition(b"\n")[0])

    def watch(self, lease_s: float, on_lost: Callable[[str], None], file: str = "") -> None:
        """Call `on_lost` with the reason, once, from a thread, when the lease is lost.

        Args:
            file: its time is looked at where it is there: a container may lose the stream to
                one launcher, and the next one goes on with it.
        """

        def wait() -> None:
            path = Path(file)
            is_file = bool(file) and path.exists()
            on_lost(_until_stale(path, lease_s) if is_file else self._until_lost(lease_s))

        threading.Thread(target=wait, name="lease", daemon=True).start()

    def _until_lost(self, lease_s: float) -> str:
        while select.select([self._fd], [], [], lease_s)[0]:
            if not os.read(self._fd, _CHUNK):
                return "the launcher closed our standard input"
        return f"the launcher was silent for {lease_s:g} s"


def _until_stale(path: Path, lease_s: float) -> str:
    """Return when the time of `path` has not changed for `lease_s`.

    Changes are counted by our own steady clock: a host whose clock is set forward by a minute
    must not end everybody.
    """
    last, seen_at = -1, time.monotonic()
    while time.monotonic() - seen_at <= lease_s:
        with contextlib.suppress(OSError):
            changed = path.stat().st_mtime_ns
            if changed != last:
                last, seen_at = changed, time.monotonic()
        time.sleep(lease_s / _LOOKS)
    return f"the launcher was silent for {lease_s:g} s"
