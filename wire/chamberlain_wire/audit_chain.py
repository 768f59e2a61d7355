"""What an audit log is on disk, and whether it is whole. Reads only.

`audit.log` is the file in use. Full ones are `audit.log.1`, `audit.log.2` and so on, oldest
first; a number is never used twice. Each line carries the SHA-256 of the line before it, also
from file to file. `audit.log.head` tells how many lines there are and the hash of the last,
so that a tail that was cut off is missed. Whoever is root can make all of it anew: against
that, ship the lines to another host (`audit export` of either command). `audit_file` writes it.
Standard library only: the root process loads this module.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from chamberlain_wire.errors import ChamberlainError

FIRST: Final = "0" * 64
"""What the first line carries in place of a hash."""

_HEAD_BYTES: Final = 512
_TRIES: Final = 4
_PAUSE_S: Final = 0.02


class BrokenChainError(ChamberlainError):
    """An audit log was changed after it was written. The detail names the first such line."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends, and where what is kept of it begins.

    Attributes:
        lines: how many were ever written.
        last: hash of the last one.
        dropped: how many of them stood in files that are not kept any more.
        previous: what the first line that is kept carries.
        oldest: number of the oldest full file that is kept; smaller numbers do not count.
    """

    lines: int = 0
    last: str = FIRST
    dropped: int = 0
    previous: str = FIRST
    oldest: int = 1

    def to_bytes(self) -> bytes:
        """Return it in a form of fixed size, so that one write in place replaces it whole."""
        return json.dumps(asdict(self)).encode().ljust(_HEAD_BYTES - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found to be whole.

    Attributes:
        lines: how many lines were read.
        files: in how many files.
        dropped: how many older lines are not kept any more.
    """

    lines: int
    files: int
    dropped: int


def head_path(path: Path) -> Path:
    """Return where the head of the log `path` is."""
    return path.with_name(f"{path.name}.head")


def read_head(path: Path) -> Head | None:
    """Return the head of the log `path`; None when there is none that can be read."""
    try:
        return Head(**json.loads(head_path(path).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def full_files(path: Path, oldest: int = 1) -> dict[int, Path]:
    """Return the full files of the log `path` by number, oldest first."""
    found = {}
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name.removeprefix(f"{path.name}.")
        if number.isdecimal() and int(number) >= oldest:
            found[int(number)] = file
    return dict(sorted(found.items()))


def digest(line: bytes) -> str:
    """Return the hash that the line after `line` carries."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def digests(file: Path) -> list[str]:
    """Return the hash of each line of one file; none when it is absent."""
    try:
        return [digest(line) for line in _lines(file)]
    except FileNotFoundError:
        return []


def verify(path: Path) -> Verified:
    """Check the log `path` with all its files. Good to call while somebody writes.

    Raises:
        BrokenChainError: a line was changed, removed or added, or the end is missing.
        OSError: it cannot be read.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _verify(path, read_head(path))
        except (BrokenChainError, FileNotFoundError):
            # The files may just have changed their names: look again, a little later.
            if left == 0:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every line that is kept of the log `path`, oldest first, torn lines left out.

    Raises:
        OSError: it cannot be read.
    """
    head = read_head(path) or Head()
    for file in (*full_files(path, head.oldest).values(), path):
        for line in _lines(file):
            document = _parse(line)
            if isinstance(document, dict):
                yield document


def resume(path: Path, head: Head | None) -> tuple[Head, str]:
    """Return the head to go on from, and what is wrong with what is there; empty: nothing.

    Lines behind the head are no fault: the host went down before the head was on its disk.
    """
    full = full_files(path, head.oldest if head else 1)
    if head is None:
        return _rebuilt(path, full)
    anchor = head.previous
    if full:
        anchor = (digests(full[max(full)]) or [anchor])[-1]
    present = [anchor, *digests(path)]
    if head.last not in present:
        # The chain goes on from what is missing, so that `verify` shows the gap for ever.
        return head, f"the log does not hold line {head.lines}, which the head file knows"
    behind = present[::-1].index(head.last)
    return replace(head, lines=head.lines + behind, last=present[-1]), ""


def first_previous(file: Path) -> str:
    """Return what the first line of `file` carries."""
    with file.open("rb") as stream:
        return _previous(stream.readline()) or FIRST


def _lines(file: Path) -> list[bytes]:
    # In one go: line by line, a line that is just being written would come as two.
    lines = file.read_bytes().split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _rebuilt(path: Path, full: dict[int, Path]) -> tuple[Head, str]:
    files = [*full.values(), path]
    found = [each for file in files for each in digests(file)]
    if not found:
        return Head(), ""
    head = Head(
        lines=len(found),
        last=found[-1],
        previous=first_previous(files[0]),
        oldest=min(full, default=1),
    )
    return head, "there was no head file: whether lines were cut off cannot be told"


def _verify(path: Path, head: Head | None) -> Verified:
    if head is None:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there")
        raise BrokenChainError(
            f"{head_path(path)} is missing or damaged: whether lines were cut off cannot be told"
        )
    files = [*full_files(path, head.oldest).values(), path]
    expected, number, at, file = head.previous, head.dropped, 0, path
    for file in files:
        at = 0
        for at, line in enumerate(_lines(file), start=1):
            _check_line(f"{file}: line {at}", line, expected)
            expected = digest(line)
            number += 1
            if number == head.lines and expected != head.last:
                raise BrokenChainError(
                    f"{file}: line {at} is not line {number} as the head file knows it"
                )
    if number < head.lines:
        raise BrokenChainError(
            f"{file}: the end is missing: {head.lines - number} of {head.lines} lines "
            f"behind line {at}"
        )
    return Verified(lines=number - head.dropped, files=len(files), dropped=head.dropped)


def _check_line(place: str, line: bytes, expected: str) -> None:
    previous = _previous(line)
    if previous not in (expected, None):
        raise BrokenChainError(f"{place} does not follow the one before it")
    # A torn line (the host went down, the disk was full) is no JSON. It is allowed, because
    # the line after it carries its hash.
    if previous is None and _parse(line) is not None:
        raise BrokenChainError(f"{place} is in no chain")


def _previous(line: bytes) -> str | None:
    """Return the hash that `line` carries; None when it is a torn or foreign line."""
    document = _parse(line)
    return (
        str(document["previous"]) if isinstance(document, dict) and "previous" in document else None
    )


def _parse(line: bytes) -> object:
    """Return what the JSON of `line` says; None when it is none."""
    try:
        document: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if document is not None else ()
