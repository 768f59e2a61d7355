"""The hub's signing key: made on first start, readable by the hub alone.

A second one may lie beside it, which is to follow: endpoints learn of it before it signs.
"""

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
NEXT_FILE_NAME: Final = "signing_key.next.pem"


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


def load_signing_keys(folder: Path) -> tuple[Ed25519PrivateKey, ...]:
    """Return the key that signs, made when there is none, and the one to follow if one is.

    Raises:
        SigningKeyError: see `load_or_make_signing_key`.
    """
    keys = [load_or_make_signing_key(folder / FILE_NAME)]
    if (folder / NEXT_FILE_NAME).exists():
        keys.append(_load(folder / NEXT_FILE_NAME))
    return tuple(keys)


def prepare_next(folder: Path) -> Ed25519PrivateKey:
    """Return the key that is to follow; made when there is none.

    Raises:
        SigningKeyError: see `load_or_make_signing_key`.
    """
    return load_or_make_signing_key(folder / NEXT_FILE_NAME)


def switch_to_next(folder: Path) -> Ed25519PrivateKey:
    """Put the prepared key in the place of the one that signs, in one step; return it.

    Raises:
        SigningKeyError: none was prepared, or it cannot be used. Nothing was changed.
    """
    following = folder / NEXT_FILE_NAME
    if not following.exists():
        raise SigningKeyError(
            public="No key was prepared. Run: chamberlain-hub key prepare; then tell endpoints."
        )
    key = _load(following)
    try:
        following.replace(folder / FILE_NAME)
    except OSError as error:
        raise SigningKeyError(
            public=f"The signing key in {folder} cannot be replaced: {error.strerror}."
        ) from None
    return key


def public_keys_b64(*keys: Ed25519PrivateKey) -> list[str]:
    """Return what endpoints must know to believe us: base64 of the raw public keys."""
    every = (key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in keys)
    return [base64.b64encode(raw).decode() for raw in every]


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
