"""Local names of endpoints: they become folder names, so they are narrow."""

from __future__ import annotations

import uuid
from typing import Final

from chamberlain_wire.limits import MAX_ENDPOINT_NAME_CHARS

_QUOTES: Final = frozenset("'\"`\\")


def fault(name: str) -> str | None:
    """Return why `name` cannot name an endpoint, or None when it can."""
    wrong = {
        "is empty": not name,
        f"has {len(name)} characters; at most {MAX_ENDPOINT_NAME_CHARS} are possible": (
            len(name) > MAX_ENDPOINT_NAME_CHARS
        ),
        "begins with a dot": name.startswith("."),
        "holds a space or a character that cannot be seen": any(
            letter.isspace() or not letter.isprintable() for letter in name
        ),
        "holds a slash": "/" in name,
        "holds a quote or a backslash": bool(_QUOTES & set(name)),
        "is a UUID; names and ids must be told apart": _is_uuid(name),
    }
    return next((why for why, holds in wrong.items() if holds), None)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
