"""The form of an access token: `chp_` and 43 letters that are safe in a URL.

256 random bits need no slow hash: nobody can guess them, so SHA-256 is enough to make a
stolen database worthless. The prefix lets scanners find a token that was committed by mistake.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

_FORM: Final = re.compile(r"chp_[A-Za-z0-9_-]{43}")


RANDOM_BYTES: Final = 32
"""What a token is made of."""


def make(random_bytes: bytes) -> str:
    """Return the token that these bytes, which nobody can guess, make."""
    return "chp_" + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def looks_right(text: str) -> bool:
    """Tell whether `text` can be a token, so that rubbish never reaches the database."""
    return _FORM.fullmatch(text) is not None


def sha256(token: str) -> str:
    """Return what the database keeps of `token`: 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two hashes in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)
