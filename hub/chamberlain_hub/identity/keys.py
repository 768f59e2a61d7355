"""The hub's signing key: made on first start, readable by the hub alone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from chamberlain_wire.errors import ChamberlainError, ErrorCode

FILE_NAME: Final = "signing_key.pem"


class SigningKeyError(ChamberlainError):
    """The signing key cannot be used. Start nothing; `public` says what to do."""

    code = ErrorCode.CONFIG_INVALID


def load_or_make_signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in `path`, which is made, mode 0600, when there is none.

    Raises:
        SigningKeyError: others may read it, it belongs to somebody else, or it is not an
            Ed25519 key. A key is never replaced: endpoints trust it by its fingerprint.
    """
    with contextlib.suppress(FileExistsError):
        _make(path)
    return _load(path)


def public_keys_b64(key: Ed25519PrivateKey) -> list[str]:
    """Return what endpoints must know to believe us: base64 of the raw public key."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return [base64.b64encode(raw).decode()]


def fingerprint(public_key: str) -> str:
    """Return the short form of a public key that two people can compare."""
    digest = hashlib.sha256(base64.b64decode(public_key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    if path.exists():
        raise FileExistsError
    # Written aside and linked into place: a crash, or a second hub that starts at the same
    # moment, never sees half a key, and never replaces one.
    try:
        file, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(pem)
                stream.flush()
                os.fsync(stream.fileno())
            path.hardlink_to(aside)
        finally:
            Path(aside).unlink()
    except FileExistsError:
        raise
    except OSError as error:
        raise SigningKeyError(
            public=f"The signing key {path} cannot be made: {error.strerror}."
        ) from None


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            pem = stream.read(65536)
    except OSError as error:
        raise SigningKeyError(
            public=f"The signing key {path} cannot be read: {error.strerror}."
        ) from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise SigningKeyError(
            public=(
                f"Others may read the signing key {path} (mode "
                f"{stat.S_IMODE(status.st_mode):04o}). If nobody has, run: chmod 600 {path}. "
                "Otherwise remove it; endpoints must then be given the new key."
            )
        )
    if status.st_uid != os.geteuid():
        raise SigningKeyError(
            public=f"The signing key {path} belongs to uid {status.st_uid}, not to the hub."
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(
            public=f"{path} is not an Ed25519 private key. Restore it from a backup."
        )
    return key
