"""Takes secrets out of texts that leave the host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

REDACTED: Final = "[redacted]"

_LEAST_CHARS: Final = 6
_NAMES: Final = (
    r"[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential)[\w-]*"
)
_VALUE: Final = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;}\]]+)"
_RULES: Final = (
    # A whole private key, whatever its kind.
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        REDACTED,
    ),
    (re.compile(r"\bchp_[A-Za-z0-9_-]+"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {REDACTED}"),
    # The password in an address, up to the last @ before the host.
    (re.compile(r"(\w+://[^\s/:@\"']*):[^\s/\"']+@"), rf"\1:{REDACTED}@"),
    # JSON web tokens and signed statements.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){1,2}"), REDACTED),
    (re.compile(rf"(?i)([\"']?\b{_NAMES}[\"']?\s*[:=]\s*){_VALUE}"), rf"\1{REDACTED}"),
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return `text` without what looks like a secret, and without `known` ones.

    Args:
        known: secrets of this host; those of less than 6 characters are left to the rules.
    """
    for secret in known:
        if len(secret) >= _LEAST_CHARS:
            text = text.replace(secret, REDACTED)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text
