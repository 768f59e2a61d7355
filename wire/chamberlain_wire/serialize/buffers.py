"""Several texts in one: `<length>\\n<text>` for each, length in characters. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from chamberlain_wire.errors import SerializationError


def join(buffers: Iterable[str]) -> str:
    """Return `buffers` as one text that `split` takes apart again."""
    return "".join(f"{len(buffer)}\n{buffer}" for buffer in buffers)


def split(packed: str) -> list[str]:
    """Return the texts in `packed`.

    Raises:
        SerializationError: it was cut off, or was never packed. It will not get better: fail
            the task it belongs to.
    """
    found = []
    start = 0
    while start < len(packed):
        newline = packed.find("\n", start, start + 20)
        head = packed[start:newline] if newline > start else ""
        if not (head.isascii() and head.isdigit()):
            raise SerializationError(
                f"no length at character {start} of a packed text: {packed[start : start + 20]!r}"
            )
        end = newline + 1 + int(head)
        if end > len(packed):
            raise SerializationError(
                f"a packed text was cut off: {end - len(packed)} characters are missing"
            )
        found.append(packed[newline + 1 : end])
        start = end
    return found
