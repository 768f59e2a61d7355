"""Which functions an endpoint runs: by id, by the hash of their code, or by both. Pure.

An id says what the hub calls a function; only a hash says what the function is. The hash is
the SHA-256 of `function_code` as it was registered, which is, to the character, what stands in
front of each task's arguments: whoever holds a task can check it.

    allowed_functions:
      - 0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4                                # this id
      - {id: 0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4, sha256: 9f86d081...}     # this id, this code
      - sha256:9f86d081...                                                  # this code, any id
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import parse_function_id

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
_BY_HASH: Final = "sha256:"
_PINNED: Final = "@sha256:"
_LENGTH: Final = re.compile(r"([0-9]{1,12})\n", re.ASCII)


class AllowedInvalidError(ChamberlainError):
    """An entry of `allowed_functions` cannot be understood. Correct the configuration."""

    code = ErrorCode.SEMANTICALLY_INVALID


class AllowList:
    """The entries of one list, ready to be asked."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._ids: dict[str, set[str]] = {}
        self._hashes: set[str] = set()
        for entry in entries:
            function, sha256 = _parts(entry)
            if function:
                self._ids.setdefault(function, set()).add(sha256)
            else:
                self._hashes.add(sha256)
        self.needs_hash = bool(self._hashes) or any(any(pins) for pins in self._ids.values())

    def permits(self, function: str, sha256: str) -> bool:
        """Tell whether the function `function`, whose code has the hash `sha256`, may run."""
        pins = self._ids.get(function, frozenset[str]())
        return "" in pins or (sha256 != "" and (sha256 in pins or sha256 in self._hashes))


@lru_cache(maxsize=256)
def allow_list(entries: tuple[str, ...]) -> AllowList:
    """Return the list of canonical `entries`; the lists that were asked for lately are kept."""
    return AllowList(entries)


def canonical(entry: object) -> str:
    """Return an entry of a configuration in its one form of text.

    `ID`, `ID@sha256:HASH` or `sha256:HASH`; what is in that form already stays as it is.

    Raises:
        AllowedInvalidError: it is none. `public` says what an entry looks like.
    """
    if isinstance(entry, Mapping):
        if set(entry) != {"id", "sha256"}:
            raise _unlike(entry)
        return _joined(str(entry["id"]), str(entry["sha256"]), entry)
    text = str(entry).strip()
    if text.startswith(_BY_HASH):
        return _joined("", text.removeprefix(_BY_HASH), entry)
    function, at, sha256 = text.partition(_PINNED)
    if at and not function:
        raise _unlike(entry)
    return _joined(function, sha256 if at else None, entry)


def narrowed(site: Sequence[str], template: Sequence[str] | None) -> list[str]:
    """Return the entries of a list that permits what both lists permit.

    Args:
        site: canonical entries.
        template: canonical entries; None: any function.
    """
    if template is None:
        return list(site)
    both = []
    for one in site:
        for other in template:
            ids = {part for part in (_parts(one)[0], _parts(other)[0]) if part}
            hashes = {part for part in (_parts(one)[1], _parts(other)[1]) if part}
            if len(ids) < 2 and len(hashes) < 2:
                both.append(_text("".join(ids), "".join(hashes)))
    return list(dict.fromkeys(both))


def listed_ids(entries: Iterable[str]) -> list[str]:
    """Return the ids in canonical `entries`, each once, as the public clients know the list."""
    return [one for one in dict.fromkeys(_parts(entry)[0] for entry in entries) if one]


def is_one_part(code: str) -> bool:
    """Tell whether `code` is one packed text, as the code of every function must be.

    A length that reaches beyond its text would make a part of the arguments a part of the code.
    """
    match = _LENGTH.match(code)
    return match is not None and match.end() + int(match[1]) == len(code)


def function_sha256(task_buffer: str) -> str:
    """Return the hash of the code in front of a task's arguments.

    Raises:
        InvalidMessageError: it does not begin with a packed text.
    """
    match = _LENGTH.match(task_buffer)
    end = match.end() + int(match[1]) if match else 0
    if match is None or end > len(task_buffer):
        raise InvalidMessageError(public="The task does not begin with a packed function.")
    return sha256_of(task_buffer[:end])


def sha256_of(code: str) -> str:
    """Return the hash of `function_code`, 64 hex digits."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


def _joined(function: str, sha256: str | None, entry: object) -> str:
    try:
        known = parse_function_id(function) if function or sha256 is None else ""
    except InvalidIdError as error:
        if sha256 is None:
            raise AllowedInvalidError(public=error.public) from None
        raise _unlike(entry) from None
    if sha256 is not None and not _HASH.fullmatch(sha256):
        raise _unlike(entry)
    if isinstance(entry, Mapping) and not known:
        raise _unlike(entry)
    return _text(known, (sha256 or "").lower())


def _text(function: str, sha256: str) -> str:
    if not function:
        return _BY_HASH + sha256
    return function + (_PINNED + sha256 if sha256 else "")


def _parts(entry: str) -> tuple[str, str]:
    if entry.startswith(_BY_HASH):
        return "", entry.removeprefix(_BY_HASH)
    function, _, sha256 = entry.partition(_PINNED)
    return function, sha256


def _unlike(entry: object) -> AllowedInvalidError:
    return AllowedInvalidError(
        public=f"{str(entry)[:160]!r} is no allowed function: write a function id, "
        "sha256: and 64 hex digits, or {id: ..., sha256: ...}."
    )
