"""Values from outside, in a form that cannot break out of the YAML that they are put into.

Text is written as a JSON string, which YAML reads back as the same text: that is the public
convention, so `{{ partition }}` needs no quotes, and templates that slice the quotes off
(`version[1:-1]`) go on working. Beyond it, a plain comparison is true as well: both
`partition == '"debug"'` and `partition == "debug"`. Keys are quoted like values, and so is
every text inside a list or mapping that is written out whole.

Whatever could mean something to YAML or to a shell is written as its number (`\\u003b`),
which YAML reads back as the character. So a value does no harm either where its author did
not think of quoting: in a block of shell text, behind a prefix, without its quotes. There
an odd character is seen as its number, and is not acted upon.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Characters that YAML 1.1 takes for line breaks or forbids, though JSON allows them bare.
_ODD_CHARS: Final = "\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff"
# All of ASCII but what is inert everywhere. A colon is inert inside a word (`01:30:00`).
_ODD: Final = re.compile(
    rf"[^A-Za-z0-9_ ./@%+=:\x80-\U0010ffff-]|[{_ODD_CHARS}]|(?<![A-Za-z0-9]):|:(?![A-Za-z0-9])"
)
# The same inside JSON, whose own signs must stay.
_ODD_IN_JSON: Final = re.compile(rf"[{_ODD_CHARS}`$;|&()<>!*?#~^']")
_LONGEST_KEY_CHARS: Final = 1000
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*")


def quote(text: str) -> str:
    """Return `text` as a JSON string that YAML reads as the same text.

    Raises:
        UnicodeEncodeError: it holds half a surrogate pair, which no YAML can carry.
    """
    text.encode()
    return f'"{_ODD.sub(_numbered, text)}"'


def _numbered(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class Part(str):
    """A piece cut out of a `Quoted`, often all of it without its quotes. Ordinary text."""

    __slots__ = ()


class Quoted(str):
    """A text from outside. As text it is its JSON form; it compares equal to both forms.

    A text with quotes at both ends is always taken for the JSON form, so that the two can
    never be confused. Its hash is that of the text as it was sent: see `look_up`.
    """

    __slots__ = ("_raw",)
    _raw: str

    def __new__(cls, raw: str) -> Quoted:
        """Wrap `raw`, the text as the caller sent it."""
        self = super().__new__(cls, quote(raw))
        self._raw = raw
        return self

    @property
    def raw(self) -> str:
        """The text as it was sent."""
        return self._raw

    def __getitem__(self, key: Any) -> Part:
        return Part(super().__getitem__(key))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Quoted):
            return self._raw == other._raw
        return isinstance(other, str) and self._raw == _meant(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._raw)

    def __contains__(self, part: object) -> bool:
        if isinstance(part, Quoted):
            return part._raw in self._raw
        return isinstance(part, str) and (part in self._raw or part in str(self))

    def startswith(self, prefix: str | tuple[str, ...], *bounds: Any) -> bool:
        """Tell it of either form."""
        return self._raw.startswith(prefix, *bounds) or super().startswith(prefix, *bounds)

    def endswith(self, suffix: str | tuple[str, ...], *bounds: Any) -> bool:
        """Tell it of either form."""
        return self._raw.endswith(suffix, *bounds) or super().endswith(suffix, *bounds)

    def upper(self) -> Quoted:
        """Change the text and not the numbers of its odd characters."""
        return Quoted(self._raw.upper())

    def lower(self) -> Quoted:
        """See `upper`."""
        return Quoted(self._raw.lower())

    def capitalize(self) -> Quoted:
        """See `upper`."""
        return Quoted(self._raw.capitalize())

    def __repr__(self) -> str:
        # A plain list that a filter made of us is written with this.
        return str.__str__(self)


def _meant(text: str) -> str | None:
    """Return the text that a template's literal stands for; None: it is broken JSON."""
    if len(text) < len('""') or not text[0] == text[-1] == '"':
        return text
    try:
        loaded = json.loads(text)
    except ValueError:
        return None
    return loaded if isinstance(loaded, str) else None


def look_up(table: dict[Any, Any]) -> dict[Any, Any]:
    """Return a template's own `table` so that a text from outside finds keys of both forms."""

    def key_of(key: object) -> object:
        if type(key) is not str or not key.startswith('"'):
            return key
        meant = _meant(key)
        return key if meant is None else Quoted(meant)

    return {key_of(key): value for key, value in table.items()}


class Null(str):
    """The absent value: writes `null`, is false, and passes the test `is none`."""

    __slots__ = ()

    def __new__(cls) -> Null:
        """Return an absent value."""
        return super().__new__(cls, "null")

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return "null"


class QuotedList(list[Any]):
    """A list from outside; written out whole it is JSON, which is YAML."""

    def __repr__(self) -> str:
        return written(self)


class QuotedMap(Mapping[str, Any]):
    """A mapping from outside: found by plain names, iterated with quoted ones."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {key: wrap(value) for key, value in values.items()}

    def __getitem__(self, key: str) -> Any:
        return self._values[key._raw if isinstance(key, Quoted) else key]

    def __iter__(self) -> Iterator[str]:
        return (Quoted(key) for key in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return written(self)


def wrap(value: Any) -> Any:
    """Return `value` (of JSON) with every text in it quoted."""
    match value:
        case str():
            return Quoted(value)
        case None:
            return Null()
        case list() | tuple():
            return QuotedList(wrap(each) for each in value)
        case Mapping():
            return QuotedMap(value)
        case _:
            return value


def plain_or_quoted(text: str) -> str:
    """Return `text` as it is when nothing in it means anything to YAML or a shell, else quoted.

    For facts of the host that templates put into paths (`{{ ...local.dir }}/scratch`); but a
    user may choose his GECOS field, so even these are not believed.
    """
    return text if _PLAIN.fullmatch(text) else Quoted(text)


def shell_escape(value: object) -> object:
    """Return `value` as one word of a POSIX shell, inside the quotes that YAML takes off."""
    if isinstance(value, Quoted):
        return Quoted(shlex.quote(value._raw))
    if not isinstance(value, str) or isinstance(value, Null):
        return value
    try:
        loaded = json.loads(value)
    except ValueError:
        return shlex.quote(value)
    return Quoted(shlex.quote(loaded)) if isinstance(loaded, str) else value


def dump_json(value: object, **options: Any) -> str:
    """Return `value` as JSON with its texts as they were sent. For the filter `tojson`."""
    return _ODD_IN_JSON.sub(_numbered, json.dumps(_unwrapped(value), ensure_ascii=False, **options))


def _unwrapped(value: object) -> object:
    match value:
        case Quoted():
            return value._raw
        case Null():
            return None
        case Mapping():
            return {_unwrapped(key): _unwrapped(each) for key, each in value.items()}
        case list() | tuple():
            return [_unwrapped(each) for each in value]
        case _:
            return value


def written(value: object) -> str:
    """Return `value` as JSON, which is YAML, with every text in it quoted."""
    match value:
        case Quoted() | Null():
            return repr(value)
        case str():
            return quote(value)
        case Mapping():
            pairs = (f"{_key(key)}: {written(each)}" for key, each in value.items())
            return "{" + ", ".join(pairs) + "}"
        case list() | tuple():
            return "[" + ", ".join(written(each) for each in value) + "]"
        case float():
            return _number(value)
        case _:
            return "null" if value is None else str(value)


def _key(key: object) -> str:
    text = written(key)
    # YAML takes a longer one for a key only where it is told so.
    return f"? {text} " if len(text) > _LONGEST_KEY_CHARS else text


def _number(value: float) -> str:
    """Return `value` as YAML 1.1 knows a number: with a dot, also before an exponent."""
    if math.isfinite(value):
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"


def finalize(value: object) -> object:
    """Return what `{{ value }}` writes. Python's own form of a list is no YAML: from a tuple
    such as `("a, b", 1)` a caller's text could break out."""
    return written(value) if isinstance(value, Mapping | list | tuple | float) else value
