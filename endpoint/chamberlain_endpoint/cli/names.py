"""Local names of endpoints: they become folder names, so they are narrow."""

from __future__ import annotations

import uuid
from typing import Final

from chamberlain_wire.limits import MAX_ENDPOINT_NAME_CHARS

_QUOTES: Final = frozenset("'\"`\\")


def fault(name: str) -> str | None:
    """Return why `name` cannot name an endpoint, or None when it can."""
    if not name:
        return "is empty"
    if len(name) > MAX_ENDPOINT_NAME_CHARS:
        return f"has {len(name)} characters; at most {MAX_ENDPOINT_NAME_CHARS} are possible"
    if name.startswith("."):
        return "begins with a dot"
    if any(letter.isspace() or not letter.isprintable() for letter in name):
        return "holds a space or a character that cannot be seen"
    if "/" in name:
        return "holds a slash"
    if _QUOTES & set(name):
        return "holds a quote or a backslash"
    if _is_uuid(name):
        return "is a UUID; names and ids must be told apart"
    return None


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
