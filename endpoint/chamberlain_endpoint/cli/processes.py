"""What the kernel says about our processes: nothing is believed that a process says itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def with_words(*words: str) -> set[int]:
    """Return the processes whose command line has all of `words`, each as a whole argument."""
    wanted = {word.encode() for word in words}
    found = set()
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((entry / "cmdline").read_bytes().split(b"\0")):
                found.add(int(entry.name))
    return found


def standing_below(above: Path) -> Iterator[tuple[int, Path]]:
    """Yield process id and working folder of each process that stands below `above`."""
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            folder = (entry / "cwd").readlink()
            if folder.is_relative_to(above) and folder != above:
                yield int(entry.name), folder


def user_endpoints(accounts_dir: Path) -> set[str]:
    """Return the ids of the user endpoints that run: each stands in `<uid>/<id>`."""
    found = set()
    for _, folder in standing_below(accounts_dir):
        _, *below = folder.relative_to(accounts_dir).parts
        found.update(below[:1])
    return found


def lives(pid: int) -> bool:
    """Tell whether process `pid` runs. One that ended and waits for its parent does not."""
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
