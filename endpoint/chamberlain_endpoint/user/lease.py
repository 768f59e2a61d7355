"""Standard input: first the order, then the launcher's breath. When it stops, so do we."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

from chamberlain_endpoint.user.order import OrderInvalidError
from chamberlain_wire.limits import MAX_LAUNCH_BYTES

_CHUNK: Final = 64 * 1024


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

    def watch(self, lease_s: float, on_lost: Callable[[str], None]) -> None:
        """Call `on_lost` with the reason, once, from a thread, when the lease is lost."""
        threading.Thread(
            target=lambda: on_lost(self._until_lost(lease_s)), name="lease", daemon=True
        ).start()

    def _until_lost(self, lease_s: float) -> str:
        while select.select([self._fd], [], [], lease_s)[0]:
            if not os.read(self._fd, _CHUNK):
                return "the launcher closed our standard input"
        return f"the launcher was silent for {lease_s:g} s"
