"""The names of the serialization strategies, without the code that reads and writes.

For those who check a configuration and must not load dill; `serialize.strategies` has the
strategies themselves, and a test holds the two together. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chamberlain_wire.errors import SerializationError

CODE: Final = (
    "DillCode",
    "PickleCode",
    "DillCodeTextInspect",
    "DillCodeSource",
    "PureSourceTextInspect",
    "PureSourceDill",
    "CombinedCode",
    "AllCodeStrategies",
)
DATA: Final = ("DillDataBase64", "JSONData", "AllDataStrategies")

_ALL_CODE: Final = "*Code"
_ALL_DATA: Final = "*Data"


def allowed(names: Iterable[str]) -> frozenset[str]:
    """Return the names of the strategies that `names` allow to be read.

    Args:
        names: names or import paths; `*Code` and `*Data` (with any prefix) stand for all
            of a kind. At least one of each kind is needed.

    Raises:
        SerializationError: an unknown name, or a kind is missing; `public` lists the names.
    """
    wanted = list(names)
    found: set[str] = set()
    for name in wanted:
        last = name.rpartition(".")[2]
        if last in (_ALL_CODE, _ALL_DATA):
            found.update(CODE if last == _ALL_CODE else DATA)
        elif last in CODE or last in DATA:
            found.add(last)
        else:
            raise SerializationError(
                public=f"{name!r} is no serialization strategy. Use one of: "
                f"{', '.join((*CODE, *DATA))}, *Code or *Data."
            )
    if found.isdisjoint(CODE) or found.isdisjoint(DATA):
        raise SerializationError(
            public="The list of allowed serializers needs at least one strategy for functions "
            f"and one for data; it has {', '.join(wanted) or 'none'}."
        )
    return frozenset(found)
