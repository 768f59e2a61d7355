"""What a look at an endpoint's files found, and where in a file a key stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_TOML_TABLE: Final = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_TOML_KEY: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_LINE_IN_TEXT: Final = re.compile(r"\bline (\d+)")

Step = str | int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that the administrator should know.

    Attributes:
        line: counted from 1; None when no single line has it.
        what: what is the matter, one sentence.
        todo: what to do; empty when `what` says it.
    """

    file: Path
    line: int | None
    what: str
    todo: str = ""

    def text(self) -> str:
        """Return the finding as one line, in the form that editors jump to."""
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.what}" + (f" -> {self.todo}" if self.todo else "")

    def document(self) -> dict[str, Any]:
        """Return the finding for `--json`."""
        return asdict(self) | {"file": str(self.file)}


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return `findings` file by file in the order in which files first appear, by line in each."""
    found = list(findings)
    files = list(dict.fromkeys(each.file for each in found))
    return sorted(found, key=lambda each: (files.index(each.file), each.line or 0))


def yaml_line(text: str, path: Sequence[Step]) -> int | None:
    """Return the line of the key or element at `path`, or of the nearest one above it that is
    there. Serves for JSON as well: nearly all JSON is YAML.

    Args:
        path: keys and indexes from the top; empty: the whole document.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    line: int | None = None
    for step in path:
        found = _below(node, step)
        if found is None:
            break
        line, node = found
    return line


def _below(node: yaml.Node | None, step: Step) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal():
        inside = node.value[int(step) : int(step) + 1]
        if inside:
            return inside[0].start_mark.line + 1, inside[0]
    return None


def toml_line(text: str, path: str) -> int | None:
    """Return the line of the key `path` (such as `policy.min_uid`), of its table, or None."""
    table, wanted_table, _, key = "", *path.rpartition(".")
    of_table = None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TOML_TABLE.match(line):
            table = found[1]
            of_table = number if table in (wanted_table, path) else of_table
        elif (found := _TOML_KEY.match(line)) and (table, found[1]) == (wanted_table, key):
            return number
    return of_table


def line_in(sentence: str) -> int | None:
    """Return the line that a parser names in its complaint, None when it names none."""
    found = _LINE_IN_TEXT.search(sentence)
    return int(found[1]) if found else None
