"""Reads one table of a TOML document by exact types, and notes every fault. No I/O."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any


class Table:
    """Reads one TOML table by exact types and notes every fault."""

    def __init__(self, document: dict[str, Any], prefix: str, faults: list[str]) -> None:
        self._document = document
        self._prefix = prefix
        self._known: set[str] = set()
        self.faults = faults

    def has(self, name: str) -> bool:
        """Tell whether `name` is there."""
        self._known.add(name)
        return name in self._document

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; None as default: it must be there."""
        value = self._take(name, (str,), "a text", default)
        return str(value)

    def path(self, name: str, default: str | None = None) -> Path:
        """Return an absolute path."""
        value = Path(self.text(name, default))
        if self.has(name) and not value.is_absolute():
            self.fault(name, "must be an absolute path")
        return value

    def number(self, name: str, default: float, *, least: float) -> float:
        """Return a number of at least `least`."""
        value = self._take(name, (int, float), "a number", default)
        if not least <= value < float("inf"):
            self.fault(name, f"must be {least:g} or more")
        return float(value)

    def whole(self, name: str, default: int, *, least: int) -> int:
        """Return a whole number of at least `least`."""
        value = self._take(name, (int,), "a whole number", default)
        if value < least:
            self.fault(name, f"must be {least} or more")
        return int(value)

    def truth(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        return bool(self._take(name, (bool,), "true or false", default))

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of texts, none of them empty."""
        value = self._take(name, (list,), "a list of texts", default)
        if not all(type(each) is str and each for each in value):
            self.fault(name, "must be a list of texts, none of them empty")
            return ()
        return tuple(value)

    def one_or_more(self, name: str) -> tuple[str, ...]:
        """Return the texts of a list, all different, or the only one; never none."""
        value = self._take(name, (str, list), "a text or a list of texts", None)
        found = (value,) if type(value) is str else tuple(value)
        if not found or not all(type(each) is str and each for each in found):
            self.fault(name, "must be a text, or a list of texts, none of them empty")
            return ("",)
        if len(set(found)) < len(found):
            self.fault(name, "names one twice")
        return found

    def table(self, name: str) -> Table:
        """Return the table below `name`; empty when it is not there."""
        value = self._take(name, (dict,), "a table", {})
        return Table(value, f"{self._prefix}{name}.", self.faults)

    def tables(self, name: str) -> dict[str, Table]:
        """Return the tables below the table `name`, by their names."""
        inner = self.table(name)
        return {key: inner.table(key) for key in inner.names()}

    def names(self) -> tuple[str, ...]:
        """Return the keys that are there."""
        return tuple(self._document)

    def refuse_unknown(self) -> None:
        """Note every key that nobody asked for, with the nearest known one."""
        for name in self._document.keys() - self._known:
            near = difflib.get_close_matches(name, self._known, 1)
            self.fault(name, "is not a key" + (f"; did you mean {near[0]}?" if near else ""))

    def fault(self, name: str, what: str) -> None:
        """Note a fault of `name`."""
        self.faults.append(f"{self._prefix}{name} {what}")

    def _take(self, name: str, kinds: tuple[type, ...], noun: str, default: Any) -> Any:
        self._known.add(name)
        if name not in self._document:
            if default is None:
                self.fault(name, "is missing")
                return kinds[0]()
            return default
        value = self._document[name]
        if type(value) not in kinds:
            self.fault(name, f"must be {noun}")
            return kinds[0]() if default is None else default
        return value
