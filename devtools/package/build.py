"""Builds what was asked for into one folder: the wheel, the Debian packages, the RPM."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import debian as machine
from devtools import environment
from devtools.lab import cache, software
from devtools.package import deb, environments, rpm, tree
from devtools.package.release import PARTS, Release
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to build.

    Attributes:
        debians: releases of Debian, such as `13`.
        parts: of `release.PARTS`.
        with_rpm: the agent as an RPM, too.
    """

    debians: Sequence[str]
    parts: Sequence[str] = PARTS
    with_rpm: bool = False


def build(wanted: Wanted, release: Release, target: Path, report: Reporter) -> list[Path]:
    """Build into `target`, which then holds nothing else of ours; return the files.

    Raises:
        CannotGoOnError: what is missing, or what a tool said.
    """
    if os.geteuid() != 0:
        raise CannotGoOnError("Packages are built in a chroot: run it as root (sudo ./dev package)")
    machine.ensure(machine.PACKAGING, report)
    environment.ensure(environment.EVERYTHING, report)
    target.mkdir(parents=True, exist_ok=True)
    for pattern in ("chamberlain*.deb", "chamberlain*.rpm", "chamberlain-*.whl", "SHA256SUMS"):
        for old in target.glob(pattern):
            old.unlink()
    with report.step("Building the wheel"):
        made = [build_wheel(release, target, report)]
    for debian in wanted.debians:
        for part in wanted.parts:
            made.append(build_deb(part, debian, made[0], release, target, report))
    if wanted.with_rpm:
        made.append(rpm.build(made[0], release, target, report))
    sums = target / "SHA256SUMS"
    sums.write_text("".join(f"{sha256(file)}  {file.name}\n" for file in sorted(made)))
    return [*made, sums]


def build_wheel(release: Release, target: Path, report: Reporter) -> Path:
    """Build the checkout's wheel into `target`.

    Raises:
        BuildFailedError: pip said no.
    """
    builders = software.wheels(cache.base(report), report) / "build"
    return software.build_wheel(builders, target, epoch=release.epoch)


def build_deb(
    part: str, debian: str, wheel: Path, release: Release, target: Path, report: Reporter
) -> Path:
    """Build one package into `target` and return it.

    Raises:
        BuildFailedError: a tool said no.
    """
    below = environments.dependencies(debian, part, report)
    with (
        report.step(f"Building chamberlain-{part} for Debian {debian}"),
        tempfile.TemporaryDirectory(dir=cache.folder()) as scratch,
    ):
        folder = Path(scratch)
        environments.put_together(debian, part, wheel, folder, report)
        root = folder / "root"
        root.mkdir(mode=0o755)
        tree.lay_out(part, folder / part, below / "wheels.sha256", root)
        tree.settle(root, release.epoch)
        return deb.build(part, debian, root, release, target)


def sha256(file: Path) -> str:
    """Return the hash of `file`, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def default_target() -> Path:
    """Return where packages go when nobody says."""
    return ROOT / "dist"
