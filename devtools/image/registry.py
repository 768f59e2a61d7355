"""How a registry is spoken to, and what its refusals mean, in a sentence."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.lab.lab import Lab
from devtools.say import CannotGoOnError

_SIGNS: Final = (
    # Of Go's TLS, in skopeo's words.
    (
        ("signed by unknown authority",),
        "{host}'s certificate is not of an authority that is trusted here. "
        "Name its authority's certificate: --ca FILE.",
    ),
    (
        ("certificate is valid for", "not valid for any names", "doesn't contain any ip sans"),
        "{host}'s certificate is for another name. Use the name that it has, or give it another.",
    ),
    (
        ("certificate has expired", "not yet valid"),
        "{host}'s certificate has expired, or is not valid yet. Renew it; look at the clock.",
    ),
    (
        ("http response to https client",),
        "{host} has no TLS. Give it a certificate, or use --plain-http in a network of your own.",
    ),
    (
        ("unauthorized", "authentication required", "access to the resource is denied"),
        "{host} does not let this user in. Look at --user and --password-file.",
    ),
    (
        ("connection refused", "no such host", "no route to host", "i/o timeout"),
        "{host} cannot be reached. Does the registry run there, and is the name right?",
    ),
)


class RegistryError(CannotGoOnError):
    """A registry did not take an image; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to come into a registry.

    Attributes:
        plain: it has no TLS. For one on the lab's own network.
        ca: file with the certificate of its authority; None: what the host trusts.
        user: who we are there; empty: nobody asks, or `podman login` was here.
        password_file: holds the user's password, in one line.
    """

    plain: bool = False
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None


@contextmanager
def options(access: Access, target: str, lab: Lab | None) -> Iterator[list[str]]:
    """Give skopeo's words for `access` to the registry of `target`, without any secret in them.

    Args:
        lab: where its login node runs skopeo; None: this machine.

    Raises:
        RegistryError: a file cannot be read, or is not what it should be.
    """
    seen = None if lab is None else "/srv/lab"
    with tempfile.TemporaryDirectory(dir=None if lab is None else lab.share) as name:
        folder = Path(name)  # nobody else's to read
        there = name if seen is None else f"{seen}/{folder.name}"
        words = ["--tls-verify=false"] if access.plain else []
        if access.ca is not None:
            _copy_certificate(access.ca, folder / "ca.crt")
            words += ["--cert-dir", there]
        if access.user:
            (folder / "auth.json").write_text(_auth(access, host_of(target)))
            words += ["--authfile", f"{there}/auth.json"]
        yield words


def host_of(target: str) -> str:
    """Return the registry's part of an image's name."""
    return target.partition("/")[0]


def sentence(target: str, said: str) -> str:
    """Return what to tell of a registry's refusal `said`."""
    host, low = host_of(target), said.lower()
    for signs, text in _SIGNS:
        if any(sign in low for sign in signs):
            return text.format(host=host)
    lines = said.strip().splitlines() or ["without a word"]
    return f"{host} did not take the image: {lines[-1]}"


def _copy_certificate(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise RegistryError(f"--ca: {source}: {error.strerror}") from error
    if b"BEGIN CERTIFICATE" not in target.read_bytes():
        raise RegistryError(f"--ca: {source} holds no certificate (PEM).")


def _auth(access: Access, host: str) -> str:
    if access.password_file is None:
        raise RegistryError(f"--user {access.user} needs --password-file FILE.")
    try:
        password = access.password_file.read_text().rstrip("\n")
    except OSError as error:
        raise RegistryError(f"--password-file: {access.password_file}: {error.strerror}") from error
    if not password:
        raise RegistryError(f"--password-file: {access.password_file} is empty.")
    packed = base64.b64encode(f"{access.user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": packed}}})
