"""What an import says of each key that it found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of a key."""

    KEPT = "kept"
    TRANSLATED = "translated"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Item:
    """One key of a file, or the file itself.

    Attributes:
        file: name of the file below the folder that was read.
        key: path of the key with dots; empty: the file.
        why: what it became, or the reason; empty for what was kept.
        todo: what the administrator should do; empty: nothing.
    """

    file: str
    key: str
    outcome: Outcome
    why: str = ""
    todo: str = ""
    line: int | None = None

    def text(self) -> str:
        """Return the item as one line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{self.outcome:<10} {place}" + (f" {self.key}" if self.key else "")
        said += f": {self.why}" if self.why else ""
        return said + (f" -> {self.todo}" if self.todo else "")

    def document(self) -> dict[str, Any]:
        """Return the item for `--json`."""
        return asdict(self)


def refused(items: Iterable[Item]) -> list[Item]:
    """Return those that the administrator must look at."""
    return [item for item in items if item.outcome is Outcome.REFUSED]
