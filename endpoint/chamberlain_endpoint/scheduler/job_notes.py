"""What a user endpoint notes of its batch jobs, for whoever must remove them when it cannot.

One file for each life of a user endpoint (a *generation*), below the account's home: what
comes after it may run on another login node. It is begun before the first job is submitted,
names the scheduler and each job, and is removed when none is left. Jobs carry the generation
in their names, so one whose id could not be noted any more is found as well. Standard library
only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "chamberlain"
"""What the name of each of our jobs begins with."""

_SUFFIX: Final = ".jsonl"
_MOST_FILES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Note:
    """What one generation noted.

    Attributes:
        kind: the provider's type, such as `SlurmProvider`.
        clusters: as the provider has it; empty is the usual cluster.
        jobs: ids that were submitted and not seen to end.
    """

    generation: str
    kind: str
    clusters: str
    jobs: frozenset[str]


def place(user_endpoint: str) -> Path:
    """Return the folder with the notes of all generations of a user endpoint."""
    return Path.home() / ".chamberlain" / "jobs" / user_endpoint


class JobNotes:
    """The notes of this generation. One thread at a time.

    Args:
        folder: see `place`; made when the first job is asked for.
        kind: the provider's type.
    """

    def __init__(self, folder: Path, kind: str, clusters: str = "") -> None:
        self.generation = secrets.token_hex(4)
        self._file = folder / f"{self.generation}{_SUFFIX}"
        self._first = {"v": 1, "kind": kind, "clusters": clusters}
        self._is_begun = False
        self._live: set[str] = set()

    @property
    def live(self) -> frozenset[str]:
        """Jobs that were submitted and not seen to end."""
        return frozenset(self._live)

    def asking(self) -> None:
        """Note that jobs of this generation may be there from now on.

        Raises:
            OSError: it cannot be noted. Submit nothing.
        """
        if not self._is_begun:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._add(self._first)
            self._is_begun = True

    def submitted(self, job: str) -> None:
        """Note a job; one that cannot be noted is still known by its name."""
        self._live.add(job)
        with contextlib.suppress(OSError):
            self._add({"submitted": job})

    def ended(self, job: str) -> None:
        """Note that a job is gone."""
        self._live.discard(job)
        with contextlib.suppress(OSError):
            self._add({"ended": job})

    def close(self) -> None:
        """Forget this generation: the scheduler has none of its jobs any more."""
        self._is_begun = False
        forget(self._file.parent, self.generation)

    def _add(self, line: dict[str, object]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            # The login node may be gone a moment later; the job is not.
            os.fsync(file.fileno())


def read(folder: Path) -> list[Note]:
    """Return the notes of all generations; what cannot be read says nothing."""
    notes = []
    with contextlib.suppress(OSError):
        for file in sorted(folder.glob(f"*{_SUFFIX}"))[:_MOST_FILES]:
            notes += [note for note in [_read(file)] if note is not None]
    return notes


def forget(folder: Path, generation: str) -> None:
    """Remove the notes of a generation, and the folder when it was the last."""
    with contextlib.suppress(OSError):
        (folder / f"{generation}{_SUFFIX}").unlink(missing_ok=True)
        folder.rmdir()


def _read(file: Path) -> Note | None:
    lines = list(_lines(file))
    if not lines or lines[0].get("v") != 1:
        return None
    submitted = {str(line["submitted"]) for line in lines if "submitted" in line}
    ended = {str(line["ended"]) for line in lines if "ended" in line}
    first = lines[0]
    return Note(
        file.name.removesuffix(_SUFFIX),
        str(first.get("kind", "")),
        str(first.get("clusters") or ""),
        frozenset(submitted - ended),
    )


def _lines(file: Path) -> Iterator[dict[str, object]]:
    with contextlib.suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            # The last one may have been cut by a crash.
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict):
                    yield told
