"""Builds an image inside a lab's login node, where a Podman of today and no network are.

The result is kept in the lab's cache by the hash of all that went in: the OCI archive, its
digest, and the list of its parts. An image is named by that digest and by nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devtools import programs
from devtools.image import base, sbom
from devtools.lab import cache, software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN, Plan
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter

_BUILD_S: Final = 900.0
_HERE: Final = "/srv/lab/image"


class ImageError(CannotGoOnError):
    """An image is not what it must be; the message says in what."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Which of our images.

    Attributes:
        folder: below `containers/`, with its Containerfile.
        packages: Debian packages of its base.
        is_ours: whether our programs are in it; else it is Debian's, made to fit ours.
    """

    folder: str
    packages: tuple[str, ...]
    is_ours: bool = True

    @property
    def name(self) -> str:
        """The image's name."""
        return f"chamberlain-{self.folder}"

    @property
    def containerfile(self) -> Path:
        """How it is built."""
        return ROOT / "containers" / self.folder / "Containerfile"

    @property
    def files(self) -> list[Path]:
        """What its folder holds: the Containerfile, and what that copies."""
        return sorted(one for one in self.containerfile.parent.iterdir() if one.is_file())


USER_ENDPOINT: Final = Kind("user-endpoint", (*base.PACKAGES, *base.SCHEDULER))
HUB: Final = Kind("hub", base.PACKAGES)
BROKER: Final = Kind("rabbitmq", ("rabbitmq-server",), is_ours=False)
DATABASE: Final = Kind("postgresql", ("postgresql",), is_ours=False)
KINDS: Final = {kind.folder: kind for kind in (USER_ENDPOINT, HUB, BROKER, DATABASE)}


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: a folder with `image.oci.tar`, `sbom.cdx.json` and `image.json`."""

    folder: Path

    @property
    def archive(self) -> Path:
        """The image as an OCI archive."""
        return self.folder / "image.oci.tar"

    @property
    def parts(self) -> Path:
        """Its CycloneDX document."""
        return self.folder / "sbom.cdx.json"

    @property
    def about(self) -> dict[str, Any]:
        """Its `name`, `version`, `digest`, `parts` (how many) and `bytes` (of the archive)."""
        known: dict[str, Any] = json.loads((self.folder / "image.json").read_text())
        return known


def build(report: Reporter, lab: Lab | None = None, kind: Kind = USER_ENDPOINT) -> Image:
    """Return the image of the checkout; build it when it is absent.

    Args:
        lab: a lab that is up; None: one that is up for just this.

    Raises:
        CannotGoOnError: it could not be built, or is not as it must be.
    """
    # What needs the cache's lock comes first: it is not taken twice.
    debian = base.tar(report, kind.folder, kind.packages)
    wheels = software.wheels(cache.base(report), report) if kind.is_ours else None
    key = _key(kind, debian, wheels)
    made = cache.folder() / f"{kind.folder}-image-{key}"
    if made.is_dir():
        return Image(made)
    with builder(lab, report) as where:
        context = where.share / "image"
        _lay_out(context, kind, debian, wheels)
        try:
            with report.step(f"Building the image {kind.name}, without network"):
                about = _build_in(where, kind)

            def keep(folder: Path) -> None:
                shutil.copy(context / "image.oci.tar", folder)
                _describe(folder, kind, about)

            return Image(
                cache.entry(f"{kind.folder}-image", key, "Keeping the image", keep, report)
            )
        finally:
            shutil.rmtree(context)


@contextlib.contextmanager
def builder(lab: Lab | None, report: Reporter) -> Iterator[Lab]:
    """Give the lab whose login node has the tools; one of our own when none is given."""
    if lab is not None:
        yield lab
        return
    own = Lab(f"image-{os.getpid()}")
    try:
        own.up(Plan(only=(LOGIN,)), report, bare=True)
        yield own
    finally:
        own.down()


def _key(kind: Kind, debian: Path, wheels: Path | None) -> str:
    made_from = [str(debian), kind.name, _version()]
    if wheels is not None:
        made_from += [str(wheels), programs.source_hash()]
    made_from += [f"{one.name} {one.read_text()}" for one in kind.files]
    made_from.append(Path(__file__).read_text() + Path(sbom.__file__).read_text())
    return hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:16]


def _lay_out(context: Path, kind: Kind, debian: Path, wheels: Path | None) -> None:
    context.mkdir()
    if wheels is not None:
        shutil.copytree(wheels / "run", context / "wheels")
        software.build_wheel(wheels / "build", context / "wheels")
    shutil.copy(debian, context / "base.tar")
    for file in kind.files:
        shutil.copy(file, context)


def _build_in(lab: Lab, kind: Kind) -> dict[str, Any]:
    version = _version()
    tag = f"localhost/{kind.name}:{version}"

    def podman(*words: str) -> str:
        return lab.run(LOGIN, ["podman", *words], limit_s=_BUILD_S).stdout

    podman("import", "--quiet", f"{_HERE}/base.tar", "localhost/base:built")
    stand_on = podman("image", "inspect", "--format", "{{.Id}}", "localhost/base:built").strip()
    given = {
        "BASE": stand_on,
        "VERSION": version,
        "REVISION": _last_change(kind, "%H") or "unknown",
    }
    arguments = [f"--build-arg={key}={value}" for key, value in given.items()]
    try:
        podman(
            *("build", "--quiet", "--network=none", "--no-cache"),
            # The time of the last commit: the same commit gives the same bytes, and digest.
            f"--timestamp={_last_change(kind, '%ct') or 0}",
            *(*arguments, "--tag", tag, "--file", f"{_HERE}/Containerfile", _HERE),
        )
        bare = ("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--entrypoint")
        if kind.is_ours:
            python = "/opt/chamberlain/bin/python"
            seen = json.loads(podman(*bare, python, tag, "-I", "-c", sbom.ASK))
        else:
            seen = {"dpkg": podman(*bare, "/usr/bin/cat", tag, sbom.STATUS), "python": []}
        archive = f"{_HERE}/image.oci.tar"
        podman("save", "--quiet", "--format=oci-archive", "--output", archive, tag)
    finally:
        podman("rmi", "--force", "--ignore", tag, "localhost/base:built")
    inspect = ["skopeo", "inspect", f"oci-archive:{archive}"]
    about = json.loads(lab.run(LOGIN, inspect).stdout)
    return {"seen": seen, "version": version, "digest": str(about["Digest"])}


def _describe(folder: Path, kind: Kind, about: dict[str, Any]) -> None:
    parts = [
        *sbom.debian_parts(about["seen"]["dpkg"]),
        *sbom.python_parts(about["seen"]["python"]),
    ]
    main = "pypi/chamberlain" if kind.is_ours else f"deb/debian/{kind.packages[0]}"
    if not any(one.purl.startswith(f"pkg:{main}@") for one in parts):
        raise ImageError(f"The image {kind.name} does not have {main.rpartition('/')[2]} in it.")
    document = sbom.document(kind.name, about["version"], about["digest"], parts)
    image = Image(folder)
    image.parts.write_text(json.dumps(document, indent=1) + "\n")
    facts = {
        "name": kind.name,
        "version": about["version"],
        "digest": about["digest"],
        "parts": len(parts),
        "bytes": image.archive.stat().st_size,
    }
    (folder / "image.json").write_text(json.dumps(facts) + "\n")


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _last_change(kind: Kind, wanted: str) -> str:
    """Return of the last commit that could change the image what git calls `wanted`."""
    where = [] if kind.is_ours else ["--", str(kind.containerfile.parent)]
    return _git("log", "-1", f"--format={wanted}", *where)


def _git(*words: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", *words]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""
