"""Service accounts: programs that prove who they are with a secret of their own. Pure.

The secret is 256 random bits, so SHA-256 keeps it as well as a slow hash would: nobody can
guess it, and a stolen database does not hold it. The prefix lets scanners find one that was
committed by mistake.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chamberlain_hub.domain.errors import ServiceAccountNameError
from chamberlain_wire.ids import IdentityId

SECRET_BYTES: Final = 32
"""What a secret is made of."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What the hub keeps of a service account; never its secret.

    Attributes:
        client_id: also the id of its identity.
        username: `<client id>@clients.<domain of the hub>`.
        rotated_at: when its secret was made anew, UTC seconds; None: never.
        revoked_at: None: it is in use.
        last_used_at: when it last got a token; None: never.
    """

    client_id: IdentityId
    name: str
    username: str
    created_at: float
    rotated_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None


def checked_name(text: str) -> str:
    """Return `text` if a service account may have it as its name.

    Raises:
        ServiceAccountNameError: it may not.
    """
    if _NAME.fullmatch(text) is None or _is_id(text):
        raise ServiceAccountNameError(
            public=f"{text[:80]!r} is not a name for a service account: letters, digits, dot, "
            "dash and underscore are allowed, 64 at most, the first a letter or digit; not an id."
        )
    return text


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def username(client_id: str, public_url: str) -> str:
    """Return the username of a service account's identity at the hub with this address."""
    return f"{client_id}@clients.{(urlsplit(public_url).hostname or 'localhost').lower()}"


def make_secret(random_bytes: bytes) -> str:
    """Return the secret that these bytes, which nobody can guess, make."""
    return "chs_" + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def secret_sha256(secret: str) -> str:
    """Return what the database keeps of `secret`: 64 hex digits."""
    return hashlib.sha256(secret.encode()).hexdigest()
