"""The signed statement "this caller asks this endpoint for this user endpoint". Pure.

The hub signs it, the manager carries it, the launcher checks it and maps it. Form:
`base64url(payload) "." base64url(signature)`, where the payload is JSON and the Ed25519
signature covers a fixed prefix and the payload's bytes as sent. The signature is checked
before the payload is parsed, so nothing unsigned reaches a parser that runs as root; there
is no algorithm field, so none can be chosen by an attacker (both are what a general JWT
library would have brought in). Standard library and `cryptography` only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.limits import ASSERTION_LIFETIME_S, CLOCK_SKEW_S, MAX_ASSERTION_BYTES

_PREFIX: Final = b"chamberlain-assertion-v1\x00"

_IDENTITY_TEXTS: Final = (
    "id",
    "name",
    "email",
    "organization",
    "identity_provider",
    "identity_provider_display_name",
    "status",
)


class AssertionRefusedError(ChamberlainError):
    """The statement is not one to act on. Start nothing, write it down, do not retry."""

    code = ErrorCode.COMMAND_REFUSED
    public = "The request could not be verified by the endpoint."


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """One identity of the caller, in the terms of the identity mapping format.

    Attributes:
        id: UUID.
        username: such as `alice@example.edu`.
        status: the mapping considers `used` and `private` only.
    """

    id: str
    username: str
    name: str = ""
    email: str = ""
    organization: str = ""
    identity_provider: str = ""
    identity_provider_display_name: str = ""
    status: str = "used"
    last_authentication: int | None = None


@dataclass(frozen=True, slots=True)
class Assertion:
    """Who asks which endpoint for what, and until when.

    Attributes:
        id: single-use id of this statement, also the id of the command that carries it.
        endpoint: id of the endpoint (the multi-user one) that is asked.
        user_endpoint: id of the user endpoint to start.
        identity: id of the effective identity; one of `identities`.
        username: its username.
        identities: the caller's linked identities, in the hub's order.
        request_digest: `request_digest()` of the options and runtime it came with.
        source: network address the caller's request came from, for the audit log.
        issued_at: UTC, seconds since the epoch.
        expires_at: UTC, seconds since the epoch.
    """

    id: str
    endpoint: str
    user_endpoint: str
    identity: str
    username: str
    identities: tuple[LinkedIdentity, ...]
    request_digest: str
    source: str
    issued_at: float
    expires_at: float


def request_digest(user_opts: Mapping[str, Any] | None, user_runtime: Any) -> str:
    """Return the SHA-256 (hex) of the caller's options and runtime in canonical JSON.

    It binds what the template will see to the signature: nobody between hub and endpoint
    can exchange the options of a signed request.
    """
    text = json.dumps(
        [user_opts, user_runtime], sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def sign(assertion: Assertion, key: Ed25519PrivateKey) -> bytes:
    """Return the statement in the form that travels."""
    payload = json.dumps(asdict(assertion), separators=(",", ":")).encode()
    return _b64(payload) + b"." + _b64(key.sign(_PREFIX + payload))


def open_signed(token: bytes, keys: Iterable[Ed25519PublicKey]) -> Assertion:
    """Return the statement in `token` when one of `keys` signed it.

    Whether it is fresh, unused and meant for us is `check_addressed` and the caller's own
    memory of used ids.

    Raises:
        AssertionRefusedError: too long, malformed, or signed by none of `keys`.
    """
    if len(token) > MAX_ASSERTION_BYTES:
        raise AssertionRefusedError(f"assertion has {len(token)} bytes")
    head, dot, tail = token.partition(b".")
    if not dot:
        raise AssertionRefusedError("assertion has no signature")
    try:
        payload, signature = _unb64(head), _unb64(tail)
    except (binascii.Error, ValueError):
        raise AssertionRefusedError("assertion is not base64") from None
    if not any(_signed_by(key, signature, payload) for key in keys):
        raise AssertionRefusedError("assertion is signed by no key of the hub")
    try:
        return _parse(json.loads(payload))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise AssertionRefusedError(f"assertion has a wrong shape: {error}") from None


def check_addressed(assertion: Assertion, *, endpoint: str, now: float) -> None:
    """Check that `assertion` is for `endpoint` and fresh at `now` (UTC seconds).

    Raises:
        AssertionRefusedError: another endpoint's, expired, from the future, or with a life
            longer than the limit.
    """
    if assertion.endpoint != endpoint:
        raise AssertionRefusedError(f"assertion is for endpoint {assertion.endpoint}")
    if assertion.issued_at > now + CLOCK_SKEW_S:
        ahead_s = assertion.issued_at - now
        raise AssertionRefusedError(f"assertion is issued {ahead_s:.0f} s in the future")
    if assertion.expires_at - assertion.issued_at > ASSERTION_LIFETIME_S:
        raise AssertionRefusedError("assertion lives longer than the limit")
    if now > assertion.expires_at:
        raise AssertionRefusedError(f"assertion expired {now - assertion.expires_at:.0f} s ago")


def _parse(fields: dict[str, Any]) -> Assertion:
    identities = tuple(LinkedIdentity(**entry) for entry in fields.pop("identities"))
    assertion = Assertion(identities=identities, **fields)
    texts: tuple[object, ...] = (
        assertion.id,
        assertion.endpoint,
        assertion.user_endpoint,
        assertion.identity,
    )
    texts += (assertion.username, *(entry.username for entry in identities))
    if not all(_is_text(text) for text in texts):
        raise ValueError("an id or username is missing")
    # Mapping rules match against each of these; a list or number must not get that far.
    for entry in identities:
        values = (getattr(entry, name) for name in _IDENTITY_TEXTS)
        if not all(isinstance(value, str) for value in values):
            raise ValueError("a property of an identity is no text")
    if not (math.isfinite(assertion.issued_at) and math.isfinite(assertion.expires_at)):
        raise ValueError("a time is not a number")
    return assertion


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _signed_by(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, _PREFIX + payload)
    except InvalidSignature:
        return False
    return True


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
