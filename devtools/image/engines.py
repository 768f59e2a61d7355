"""Where a built image goes: into an engine's store, or into a registry."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devtools.image import registry
from devtools.image.build import Image, ImageError
from devtools.image.registry import Access, RegistryError
from devtools.lab import software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.say import CannotGoOnError

ENGINES: Final = ("podman", "docker")
_LONG_S: Final = 600.0
_ANYBODY: Final = Access()


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


def load(image: Image, lab: Lab | None, engine: str = "") -> str:
    """Load the image into an engine; return its name there.

    Args:
        lab: into an engine of its login node; None: of this machine.
        engine: `podman` or `docker`; empty: Podman in a lab, else the first that is installed.

    Raises:
        EngineError, InsideError: there is no engine, or it refused.
        ImageError: what the engine has is not what was built.
    """
    if not engine:
        there = [one for one in ENGINES if lab is not None or shutil.which(one)]
        if not there:
            raise EngineError(f"No engine is installed: {' or '.join(ENGINES)}.")
        engine = there[0]
    name = f"{image.about['name']}:{image.about['version']}"
    with _at_hand(image, lab) as archive:
        if engine == "podman":
            _do(lab, ["podman", "load", "--quiet", "--input", archive])
            return f"localhost/{name}"
        _load_into_docker(image, lab, archive, name)
    return name


def docker_id(image: Image) -> str:
    """Return what Docker calls the image: the digest of its configuration.

    Raises:
        ImageError: the archive does not hold what its digest says.
    """
    wanted = str(image.about["digest"])
    with tarfile.open(image.archive) as archive:
        manifest = json.loads(_blob(archive, wanted))
        found = str(manifest["config"]["digest"])
        _blob(archive, found)
    return found


def _load_into_docker(image: Image, lab: Lab | None, archive: str, name: str) -> None:
    # Docker before 27 reads no OCI archive; skopeo gives it its own form, checks each layer
    # against its digest, and keeps the configuration, whose digest is Docker's image id.
    wanted, there = docker_id(image), f"docker-daemon:{name}"
    if lab is None and shutil.which("skopeo") is None:
        raise EngineError("skopeo is not installed: apt-get install skopeo")
    _do(lab, ["skopeo", "copy", "--quiet", f"oci-archive:{archive}", there])
    arrived = json.loads(_do(lab, ["skopeo", "inspect", "--raw", there]))["config"]["digest"]
    if arrived != wanted:
        raise ImageError(f"{name} has the image id {arrived} in Docker; {wanted} was loaded.")


def _blob(archive: tarfile.TarFile, digest: str) -> bytes:
    try:
        file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    except KeyError:
        file = None
    if file is None:
        raise ImageError(f"The archive has no {digest}: build the image again.")
    content = file.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ImageError(f"What the archive calls {digest} is something else.")
    return content


@contextmanager
def _at_hand(image: Image, lab: Lab | None) -> Iterator[str]:
    """Give the archive's name where the engine, or skopeo, runs."""
    if lab is None:
        yield str(image.archive)
        return
    with _shared(image, lab) as archive:
        yield archive


def _do(lab: Lab | None, command: list[str]) -> str:
    if lab is None:
        return _run(command)
    return str(lab.run(LOGIN, command, limit_s=_LONG_S).stdout)


def install(image: Image, lab: Lab, *, host: str = LOGIN) -> str:
    """Install the image where a lab's endpoint takes it from, or on a node; return its digest."""
    wanted = str(image.about["digest"])
    program = str(software.WHERE / "bin/chamberlain-endpoint")
    with _shared(image, lab) as archive:
        words = [program, "image", "install", archive, "--digest", wanted]
        lab.run(host, words, limit_s=_LONG_S)
    return wanted


def push(image: Image, target: str, lab: Lab | None, access: Access = _ANYBODY) -> str:
    """Copy the image to `target`, such as `registry.example.edu/chamberlain/user-endpoint:1.0`.

    Args:
        lab: its login node speaks to the registry; None: this machine.

    Returns:
        The reference by digest, which is what a site's configuration should name.

    Raises:
        EngineError: skopeo is missing.
        RegistryError: the registry could not be reached, or refused.
        ImageError: what arrived has another digest.
    """
    if lab is None and shutil.which("skopeo") is None:
        raise EngineError("skopeo is not installed: apt-get install skopeo")
    with registry.options(access, target, lab) as given:
        remote = [f"--dest-{one.removeprefix('--')}" if one[:2] == "--" else one for one in given]
        with _at_hand(image, lab) as archive:
            words = ["copy", "--quiet", *remote, f"oci-archive:{archive}", f"docker://{target}"]
            _skopeo(words, target, lab)
        ask = ["inspect", *given, "--format", "{{.Digest}}", f"docker://{target}"]
        arrived = _skopeo(ask, target, lab).strip()
    wanted = image.about["digest"]
    if arrived != wanted:
        raise ImageError(f"{target} is {arrived}; {wanted} was sent.")
    return f"{_without_tag(target)}@{arrived}"


def _skopeo(words: list[str], target: str, lab: Lab | None) -> str:
    command = ["skopeo", *words]
    if lab is not None:
        done = lab.run(LOGIN, command, limit_s=_LONG_S, check=False)
    else:
        done = _ended(command)
    if done.returncode != 0:
        raise RegistryError(registry.sentence(target, done.stderr))
    return done.stdout


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
    done = _ended(command)
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def _ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONG_S,
        check=False,
    )
