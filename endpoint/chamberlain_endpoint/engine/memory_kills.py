"""Whether the kernel killed a process for memory, as this process's own control group tells it.

The user endpoint and the workers that it started itself share the group of their container, which
has the site's limit; what runs in a batch job is in another one, on another host.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

_MIB: Final = 1024 * 1024
_NO_LIMIT: Final = 2**50
"""Version 1 says it by a number that no host has."""
_TOP: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


class MemoryKills:
    """Counts the kills, so that each is told once. Thread-safe.

    Args:
        group: folder of the control group; None: that of this process, if it can be seen.
    """

    def __init__(self, group: Path | None = None) -> None:
        self._group = group or _own_group()
        self._lock = threading.Lock()
        self._told = self._count()

    def sentence(self) -> str:
        """Return why a worker that was just killed died; empty: it was not for memory.

        Of several that die together each is told of a kill of its own.
        """
        limit = self._limit()
        with self._lock:
            if not limit or self._count() <= self._told:
                return ""
            self._told += 1
        return (
            f"All that you run on this endpoint may use {limit} together, the site's limit; the "
            "task needed more, so the system killed it (out of memory)."
        )

    def _limit(self) -> str:
        """Return the limit in words; empty: there is none, or it cannot be seen."""
        text = _read(self._group, "memory.max") or _read(self._group, "memory.limit_in_bytes")
        limit = int(text) if text.isdecimal() else _NO_LIMIT
        return f"{limit // _MIB} MiB of memory" if limit < _NO_LIMIT else ""

    def _count(self) -> int:
        told = _read(self._group, "memory.events") or _read(self._group, "memory.oom_control")
        for line in told.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdecimal():
                return int(count)
        return 0


def _own_group() -> Path | None:
    """Return where this process's group is mounted, in either version of control groups."""
    try:
        rows = [line.split(":", 2) for line in _MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in rows:
        place = _TOP / path.lstrip("/")
        if controllers == "" and (place / "memory.events").exists():
            return place
        if "memory" in controllers.split(","):
            return _TOP / "memory" / path.lstrip("/")
    return None


def _read(group: Path | None, name: str) -> str:
    try:
        return (group / name).read_text().strip() if group is not None else ""
    except OSError:
        return ""
