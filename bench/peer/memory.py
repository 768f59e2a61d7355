"""What processes hold in memory, shared pages counted once (PSS)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

_EVERY_S = 0.5
_LIMIT_S = 6.0
_STEADY = 0.01
_IDLE_S = 25.0


def pss_mb(processes: list[psutil.Process]) -> float:
    """Return the proportional set size of all `processes`, in MB of 1,000,000 bytes."""
    total_kib = 0
    for process in processes:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
    return total_kib * 1024 / 1e6


def settled_mb(processes: Callable[[], list[psutil.Process]]) -> float:
    """Return their size after a while without work.

    That is when two looks in a row agree within a hundredth, or time is over.
    """
    time.sleep(_IDLE_S)
    before, deadline = pss_mb(processes()), time.monotonic() + _LIMIT_S
    while True:
        time.sleep(_EVERY_S)
        now = pss_mb(processes())
        if abs(now - before) <= _STEADY * now or time.monotonic() > deadline:
            return now
        before = now
