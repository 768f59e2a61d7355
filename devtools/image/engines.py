"""Where a built image goes: into an engine's store, or into a registry."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devtools.image.build import Image, ImageError
from devtools.lab import software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.say import CannotGoOnError

_ENGINES: Final = ("podman", "docker")
_LONG_S: Final = 600.0


class EngineError(CannotGoOnError):
    """An engine or a registry did not take the image; the message holds what it said."""


def save(image: Image, folder: Path) -> list[Path]:
    """Copy the archive, its digest and its parts into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    about = image.about
    name = f"{about['name']}-{about['version']}"
    archive, parts = folder / f"{name}.oci.tar", folder / f"{name}.cdx.json"
    shutil.copy(image.archive, archive)
    shutil.copy(image.parts, parts)
    digest = folder / f"{name}.digest"
    digest.write_text(f"{about['digest']}\n")
    return [archive, parts, digest]


def load(image: Image, lab: Lab | None) -> str:
    """Load the image into the engine of a lab's login node, or of this machine; return its name.

    Raises:
        EngineError, InsideError: there is no engine, or it refused.
    """
    about = image.about
    name = f"localhost/{about['name']}:{about['version']}"
    if lab is not None:
        with _shared(image, lab) as archive:
            lab.run(LOGIN, ["podman", "load", "--quiet", "--input", archive], limit_s=_LONG_S)
        return name
    for engine in _ENGINES:
        if shutil.which(engine):
            _run([engine, "load", "--input", str(image.archive)])
            return name
    raise EngineError(f"No engine is installed: {' or '.join(_ENGINES)}.")


def install(image: Image, lab: Lab, *, host: str = LOGIN) -> str:
    """Install the image where a lab's endpoint takes it from, or on a node; return its digest."""
    wanted = str(image.about["digest"])
    program = str(software.WHERE / "bin/chamberlain-endpoint")
    with _shared(image, lab) as archive:
        words = [program, "image", "install", archive, "--digest", wanted]
        lab.run(host, words, limit_s=_LONG_S)
    return wanted


def push(image: Image, target: str, lab: Lab | None, *, plain: bool = False) -> str:
    """Copy the image to `target`, such as `registry.example.edu/chamberlain/user-endpoint:1.0`.

    Args:
        lab: its login node speaks to the registry; None: this machine.
        plain: the registry has no TLS. For one on the lab's own network.

    Returns:
        The reference by digest, which is what a site's configuration should name.

    Raises:
        EngineError, InsideError: the registry could not be reached, or refused.
        ImageError: what arrived has another digest.
    """
    words = ["skopeo", "copy", "--quiet", *(["--dest-tls-verify=false"] if plain else [])]
    ask = ["skopeo", "inspect", *(["--tls-verify=false"] if plain else [])]
    ask += ["--format", "{{.Digest}}", f"docker://{target}"]
    if lab is not None:
        with _shared(image, lab) as archive:
            lab.run(LOGIN, [*words, f"oci-archive:{archive}", f"docker://{target}"])
        arrived = lab.run(LOGIN, ask).stdout.strip()
    else:
        if shutil.which("skopeo") is None:
            raise EngineError("skopeo is not installed: apt-get install skopeo")
        _run([*words, f"oci-archive:{image.archive}", f"docker://{target}"])
        arrived = _run(ask).strip()
    wanted = image.about["digest"]
    if arrived != wanted:
        raise ImageError(f"{target} is {arrived}; {wanted} was sent.")
    return f"{_without_tag(target)}@{arrived}"


def _without_tag(target: str) -> str:
    host, slash, rest = target.rpartition("/")
    return f"{host}{slash}{rest.partition(':')[0]}"


@contextmanager
def _shared(image: Image, lab: Lab) -> Iterator[str]:
    """Give the archive's name on the lab's hosts."""
    copy = lab.share / "to-load.oci.tar"
    shutil.copy(image.archive, copy)
    try:
        yield f"/srv/lab/{copy.name}"
    finally:
        copy.unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONG_S,
        check=False,
    )
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
