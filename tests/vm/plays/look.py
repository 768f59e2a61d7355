"""Tells the limits as the function itself can see them."""

from __future__ import annotations


def hello() -> dict[str, object]:
    import os
    import pathlib

    own = pathlib.Path("/sys/fs/cgroup")
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    return {"uid": os.getuid(), **{name: (own / name).read_text().strip() for name in names}}
