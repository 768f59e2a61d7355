"""Functions: packed here, registered at the hub once per content."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

from chamberlain.runtime import function_meta
from chamberlain_wire.ids import parse_function_id
from chamberlain_wire.serialize import Serializer, pack_function
from chamberlain_wire.serialize.origin import globals_of

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Function:
    """A function to call: packed here (`code`), or already known to the hub (`function_id`)."""

    name: str = ""
    code: str = ""
    function_id: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of name and code."""
        return hashlib.sha256(f"{self.name}\n{self.code}".encode()).hexdigest()


def registered(function_id: object) -> Function:
    """Return the function that the hub knows as `function_id`.

    Raises:
        InvalidIdError: it is no UUID.
    """
    return Function(function_id=parse_function_id(str(function_id)))


def registration(function: Function, serializer: Serializer, **more: Any) -> dict[str, Any]:
    """Return the body that registers `function`; None values of `more` are left out."""
    return {
        "function_name": function.name,
        "function_code": function.code,
        "meta": function_meta(serializer.code.identifier),
        **{key: value for key, value in more.items() if value is not None},
    }


class Functions:
    """What was packed and registered before. Thread-safe.

    A function object is packed again when the function, or a global or closure variable that its
    code names, was bound anew since. What was changed *inside* such an object in the meantime is
    not noticed: pass it as an argument instead.
    """

    def __init__(self, serializer: Serializer, register: Callable[[dict[str, Any]], str]) -> None:
        self._serializer = serializer
        self._register = register
        self._lock = threading.Lock()
        self._packed: weakref.WeakKeyDictionary[Any, tuple[list[Any], Function]] = (
            weakref.WeakKeyDictionary()
        )
        self._ids: dict[str, str] = {}
        self._registering: dict[str, threading.Lock] = {}

    def packed(self, function: Callable[..., Any]) -> Function:
        """Return `function`, packed.

        Raises:
            SerializationError: it cannot travel; the text names the cause and a way out.
        """
        parts = _parts(function)
        if parts is None:
            return self._pack(function)
        with self._lock:
            known = self._packed.get(function)
        if known is not None and _same(known[0], parts):
            return known[1]
        packed = self._pack(function)
        with self._lock:
            self._packed[function] = (parts, packed)
        return packed

    def id_of(self, function: Function) -> str:
        """Return the hub's id of `function`, registering it if that was not done before.

        Raises:
            HubError: the hub refused it.
        """
        if function.function_id:
            return function.function_id
        digest = function.digest
        with self._lock:
            known = self._ids.get(digest)
            turn = self._registering.setdefault(digest, threading.Lock())
        if known is not None:
            return known
        with turn:  # several lanes may meet here; one registers
            with self._lock:
                known = self._ids.get(digest)
            if known is None:
                known = self._register(registration(function, self._serializer))
                with self._lock:
                    self._ids[digest] = known
        return known

    def forget(self, function: Function) -> None:
        """Register `function` again next time: the hub does not know it any more."""
        with self._lock:
            self._ids.pop(function.digest, None)

    def _pack(self, function: Callable[..., Any]) -> Function:
        name = getattr(function, "__name__", type(function).__name__)
        return Function(name, pack_function(function, self._serializer))


def _parts(function: Callable[..., Any]) -> list[Any] | None:
    """Return what the packed form depends on, or None when it cannot be told."""
    if type(function) is not FunctionType:
        return None
    cells = [
        getattr(cell, "cell_contents", _MISSING) if _is_full(cell) else _MISSING
        for cell in function.__closure__ or ()
    ]
    named = globals_of(function)
    return [
        function.__code__,
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
        *cells,
        *named.keys(),
        *named.values(),
    ]


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _same(before: list[Any], now: list[Any]) -> bool:
    # By identity: equality of a user's objects may be slow, or an array.
    return len(before) == len(now) and all(
        one is other or (isinstance(one, str) and one == other)
        for one, other in zip(before, now, strict=True)
    )
