"""The ways to turn a function or data into text, with the identifiers of the public clients.

A text begins with two characters that name its strategy, and a newline: whoever reads it needs
no other hint. Reading runs code of the sender (pickle, source), so it belongs into the process
that runs the task, as the user whose task it is, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import dill

from chamberlain_wire.errors import SerializationError
from chamberlain_wire.serialize import buffers
from chamberlain_wire.serialize.by_value import dumps, loads

_HEAD: Final = 3


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way.

    Attributes:
        identifier: two characters, as they stand at the head of a text.
        name: as the public clients call it.
        for_code: for functions (True) or for data (False).
        write: object -> text without the head. May raise anything.
        read: text without the head, and `home` of `by_value.loads` -> object. May raise anything.
    """

    identifier: str
    name: str
    for_code: bool
    write: Callable[[Any], str]
    read: Callable[[str, bool], Any]

    def pack(self, value: object) -> str:
        """Return `value` as text, head included."""
        return f"{self.identifier}\n{self.write(value)}"


def named(text: str) -> Strategy:
    """Return the strategy that `text` begins with.

    Raises:
        SerializationError: no strategy has this identifier.
    """
    strategy = BY_IDENTIFIER.get(text[: _HEAD - 1]) if text[_HEAD - 1 : _HEAD] == "\n" else None
    if strategy is None:
        raise SerializationError(
            public=f"A text begins with {text[:_HEAD]!r}, which names no serialization strategy "
            "known here. The sender's version may be newer: upgrade this side."
        )
    return strategy


def body(text: str) -> str:
    """Return `text` without the head."""
    return text[_HEAD:]


def _write_dill(value: object) -> str:
    # No line breaks, unlike the public clients: they cost a percent, and two more in JSON.
    return base64.b64encode(dumps(value)).decode()


def _read_dill(text: str, home: bool) -> Any:
    return loads(_unbase64(text), home=home)


def _unbase64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise SerializationError(f"a text is no base64: {error}") from None


def _refuse_pickle(_value: object) -> str:
    raise SerializationError(
        public="PickleCode is only read, for functions registered long ago. Use DillCode."
    )


def _source(function: Any, get: Callable[[Any], str]) -> tuple[str, str]:
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise SerializationError(
            public=f"{name or function!r} has no name that its source could be called by. "
            "Use a `def` function, or the strategy DillCode."
        )
    try:
        return name, textwrap.dedent(get(function))
    except (OSError, TypeError) as error:
        raise SerializationError(
            public=f"The source of {name!r} cannot be found ({error}). Use the strategy DillCode."
        ) from None


def _inspected(function: Any) -> tuple[str, str]:
    return _source(function, inspect.getsource)


def _dilled(function: Any) -> tuple[str, str]:
    return _source(function, lambda one: str(dill.source.getsource(one, lstrip=True)))


def _run_source(name: str, source: str) -> Any:
    filename = f"<source of {name}>"
    # So that a traceback from the worker shows the lines.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "chamberlain_task"}
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102 - the user's own function
    return namespace[name]


def _read_named_source(text: str, home: bool) -> Any:
    return _run_source(*_read_dill(text, home))


def _read_pure_source(text: str, _home: bool) -> Any:
    name, _, source = text.partition(":")
    return _run_source(name, source)


def _first_that_reads(texts: list[str], home: bool) -> Any:
    faults = []
    for text in texts:
        try:
            strategy = named(text)
            return strategy.read(body(text), home)
        except Exception as error:  # noqa: BLE001 - each way may fail as it likes; one must not
            faults.append(f"{text[:2]}: {type(error).__name__}: {error}")
    raise SerializationError("no alternative could be read: " + "; ".join(faults))


def _all_that_write(value: object, strategies: tuple[Strategy, ...]) -> list[str]:
    texts, faults = [], []
    for strategy in strategies:
        try:
            texts.append(strategy.pack(value))
        except Exception as error:  # noqa: BLE001 - each way may fail as it likes; one must not
            faults.append(f"{strategy.name}: {error}")
    if not texts:
        raise SerializationError("no alternative worked: " + "; ".join(faults))
    return texts


def _write_combined(value: object) -> str:
    texts = _all_that_write(value, _COMBINED)
    return ":".join(f"{text[:_HEAD]}:{text[_HEAD:]}" for text in texts)


def _read_combined(text: str, home: bool) -> Any:
    # Heads and bodies alternate. Source has colons of its own: a part begins only at a head.
    texts: list[str] = []
    for part in text.split(":"):
        if part[:-1] in BY_IDENTIFIER and part.endswith("\n"):
            texts.append(part)
        elif not texts:
            raise SerializationError("a CombinedCode text begins with no known head")
        else:
            texts[-1] += part if len(texts[-1]) == _HEAD else ":" + part
    return _first_that_reads(texts, home)


def _read_all(text: str, home: bool) -> Any:
    return _first_that_reads(buffers.split(text), home)


DILL_CODE: Final = Strategy("01", "DillCode", True, _write_dill, _read_dill)
PICKLE_CODE: Final = Strategy("02", "PickleCode", True, _refuse_pickle, _read_dill)
DILL_CODE_TEXT_INSPECT: Final = Strategy(
    "03", "DillCodeTextInspect", True, lambda f: _write_dill(_inspected(f)), _read_named_source
)
DILL_CODE_SOURCE: Final = Strategy(
    "04", "DillCodeSource", True, lambda f: _write_dill(_dilled(f)), _read_named_source
)
PURE_SOURCE_TEXT_INSPECT: Final = Strategy(
    "st", "PureSourceTextInspect", True, lambda f: ":".join(_inspected(f)), _read_pure_source
)
PURE_SOURCE_DILL: Final = Strategy(
    "sd", "PureSourceDill", True, lambda f: ":".join(_dilled(f)), _read_pure_source
)
COMBINED_CODE: Final = Strategy("10", "CombinedCode", True, _write_combined, _read_combined)
ALL_CODE: Final = Strategy(
    "12",
    "AllCodeStrategies",
    True,
    lambda f: buffers.join(
        _all_that_write(f, (PURE_SOURCE_TEXT_INSPECT, PURE_SOURCE_DILL, DILL_CODE))
    ),
    _read_all,
)
DILL_DATA: Final = Strategy("00", "DillDataBase64", False, _write_dill, _read_dill)
JSON_DATA: Final = Strategy("11", "JSONData", False, json.dumps, lambda text, _: json.loads(text))
ALL_DATA: Final = Strategy(
    "13",
    "AllDataStrategies",
    False,
    lambda value: buffers.join(_all_that_write(value, (JSON_DATA, DILL_DATA))),
    _read_all,
)

_COMBINED: Final = (
    DILL_CODE_SOURCE,
    DILL_CODE,
    DILL_CODE_TEXT_INSPECT,
    PURE_SOURCE_DILL,
    PURE_SOURCE_TEXT_INSPECT,
)
STRATEGIES: Final = (
    DILL_CODE,
    PICKLE_CODE,
    DILL_CODE_TEXT_INSPECT,
    DILL_CODE_SOURCE,
    PURE_SOURCE_TEXT_INSPECT,
    PURE_SOURCE_DILL,
    COMBINED_CODE,
    ALL_CODE,
    DILL_DATA,
    JSON_DATA,
    ALL_DATA,
)
BY_IDENTIFIER: Final = MappingProxyType({one.identifier: one for one in STRATEGIES})
BY_NAME: Final = MappingProxyType({one.name: one for one in STRATEGIES})
