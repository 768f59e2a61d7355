"""Puts the lines of source into a remote traceback that the worker did not have.

A function travels without the file that it stands in, so the worker's traceback names file and
line, and shows no source. The caller has the file; a notebook's cells are known here as well.
Sending the source along was rejected: every function would carry its file, for the few that
fail. A file that was changed after the task began is not looked into: its lines moved.
"""

from __future__ import annotations

import linecache
import re
import stat
from pathlib import Path
from typing import Final

_FRAME: Final = re.compile(r'^(\s*)File "(?P<file>[^"]+)", line (?P<line>\d+)(, in .+)?$')
_MOST_FRAMES: Final = 200
_MOST_BYTES: Final = 4 * 1024 * 1024


def with_source(text: str, *, began_at: float | None) -> str:
    """Return the traceback `text` with the missing source lines, where they are known here.

    Args:
        began_at: UTC seconds; None leaves `text` as it is.
    """
    if began_at is None or "Traceback" not in text:
        return text
    lines = text.split("\n")
    told: list[str] = []
    frames = 0
    for place, line in enumerate(lines):
        told.append(line)
        frame = _FRAME.match(line)
        if frame is None or frames >= _MOST_FRAMES or _has_source(frame[1], lines[place + 1 :]):
            continue
        frames += 1
        source = _line(frame["file"], int(frame["line"]), began_at)
        if source:
            told.append(f"{frame[1]}  {source}")
    return "\n".join(told)


def _has_source(indent: str, rest: list[str]) -> bool:
    return bool(rest) and rest[0].startswith(indent + "  ")


def _line(file: str, number: int, began_at: float) -> str:
    if not file.startswith("<") and not _is_older(file, began_at):
        return ""
    return linecache.getline(file, number).strip()


def _is_older(file: str, began_at: float) -> bool:
    try:
        found = Path(file).stat()
    except (OSError, ValueError):
        # A notebook's cell has a name that looks like a file's, and stands in memory only.
        return file in linecache.cache
    # The name came from far away: nothing but a file of source is opened.
    is_source = file.endswith(".py") and stat.S_ISREG(found.st_mode)
    return is_source and found.st_size <= _MOST_BYTES and found.st_mtime <= began_at
