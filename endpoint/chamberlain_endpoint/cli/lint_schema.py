"""What a schema says about one option: which values can come, and whether they are harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_HARMLESS_TYPES: Final = frozenset({"integer", "number", "boolean", "null"})
_SHELL_SAMPLES: Final = (";id", "a;id", "$(id)", "`id`", "a|id", "a&id", "a\nid", "'", '"', ">x")
_LINE_SAMPLES: Final = ("a\nid", "a\n#SBATCH --uid=0", "\n")


@dataclass(frozen=True, slots=True)
class OptionSchema:
    """The part of a schema about one option.

    Attributes:
        known: the schema names the option.
        values: all values that can come; None when they cannot be listed.
        types: JSON types that can come; empty: all.
    """

    known: bool
    required: bool
    values: tuple[Any, ...] | None
    types: frozenset[str]
    pattern: str | None

    def is_free_text(self) -> bool:
        """Tell whether text can come that means something to a shell."""
        return self._lets_in(_SHELL_SAMPLES)

    def is_free_of_lines(self) -> bool:
        """Tell whether no text with a line break can come."""
        return not self._lets_in(_LINE_SAMPLES)

    def can_be(self, constant: Any) -> bool:
        """Tell whether the option can have the value that a template compares it with."""
        forms = {_key(constant), _key(_unquoted(constant))}
        if self.values is not None:
            return any(_key(value) in forms for value in self.values)
        if not self.types:
            return True
        return any(_json_type(form) & self.types for form in (constant, _unquoted(constant)))

    def _lets_in(self, samples: tuple[str, ...]) -> bool:
        if self.values is not None:
            texts = [value for value in self.values if not isinstance(value, int | float)]
            return any(not isinstance(value, str) or _means_something(value) for value in texts)
        if self.types and self.types <= _HARMLESS_TYPES:
            return False
        if self.types and "string" in self.types and self.pattern is not None:
            try:
                return any(re.search(self.pattern, sample) for sample in samples)
            except re.error:
                return True
        return True


def option_schema(schema: Mapping[str, Any] | None, name: str) -> OptionSchema:
    """Return what `schema` says of the option `name`."""
    about: Any = ((schema or {}).get("properties") or {}).get(name)
    required = name in ((schema or {}).get("required") or ())
    if not isinstance(about, dict):
        return OptionSchema(about is not None, required, None, frozenset(), None)
    values: tuple[Any, ...] | None = None
    if isinstance(about.get("enum"), list):
        values = tuple(about["enum"])
    elif "const" in about:
        values = (about["const"],)
    types = about.get("type", ())
    types = frozenset([types] if isinstance(types, str) else types)
    return OptionSchema(True, required, values, types, about.get("pattern"))


def names(schema: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the options that `schema` names."""
    return tuple((schema or {}).get("properties") or ())


def is_closed(schema: Mapping[str, Any] | None) -> bool:
    """Tell whether no other options can be given than those that `schema` names."""
    return schema is not None and schema.get("additionalProperties") is False


def _means_something(text: str) -> bool:
    return re.fullmatch(r"[\w@%+=:,./-]*", text) is None


def _unquoted(value: Any) -> Any:
    """Return the text in a JSON string: templates may compare with either form."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _key(value: Any) -> tuple[str, Any]:
    return ("bool" if isinstance(value, bool) else "", repr(value))


def _json_type(value: Any) -> frozenset[str]:
    match value:
        case bool():
            return frozenset({"boolean"})
        case int():
            return frozenset({"integer", "number"})
        case float():
            return frozenset({"number"})
        case str():
            return frozenset({"string"})
        case None:
            return frozenset({"null"})
        case _:
            return frozenset({"array", "object"})
