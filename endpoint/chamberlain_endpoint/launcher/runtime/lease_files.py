"""By whose time containers hear that the launcher lives: one file for each start.

Containers see theirs read-only. Standard input would not do: it ends with the launcher that
began it, and the next one goes on with the container.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class LeaseFiles:
    """The files in one folder, by generation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, generation: str) -> Path:
        """Return the file of that start, there or not."""
        return self._folder / generation

    def make(self, generation: str) -> Path:
        """Return the new file of a start that will be.

        Raises:
            OSError: it cannot be made; do not start.
        """
        file = self.of(generation)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(0o644)
        return file

    def renew(self, generation: str) -> None:
        """Say once more that we live. One that has ended meanwhile is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.of(generation))

    def remove(self, generation: str) -> None:
        """Forget a start that is gone; twice is harmless."""
        self.of(generation).unlink(missing_ok=True)

    def keep_only(self, generations: set[str]) -> None:
        """Forget all other starts: nothing of them runs."""
        with contextlib.suppress(FileNotFoundError):
            for file in self._folder.iterdir():
                if file.name not in generations:
                    file.unlink(missing_ok=True)
