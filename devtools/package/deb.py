"""Debian packages: what dpkg is told beside the files, and the archive itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from devtools.lab import cache
from devtools.package.release import Release, architecture
from devtools.package.tree import PACKAGING

_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
_CONTROL: Final = """\
Package: chamberlain-{part}
Source: chamberlain
Version: {version}
Architecture: {architecture}
Maintainer: The Chamberlain founders <chamberlain@localhost>
Installed-Size: {size}
Depends: python{python}, libc6 (>= 2.34), passwd{depends}
{more}Section: net
Priority: optional
Description: {summary}
{description}
"""
_ABOUT: Final = {
    "endpoint": (
        "multi-user compute endpoint for a login node",
        " Lets people run Python functions on a cluster as their own local account, in a\n"
        " container or as processes, without a shell account. This package brings the agent\n"
        " with a Python environment of its own; nothing is started until an endpoint is\n"
        " configured.",
        "Recommends: logrotate, podman, catatonit, uidmap\n",
    ),
    "hub": (
        "hub for multi-user compute endpoints",
        " Takes people's functions and tasks, knows who they are, and brings tasks to the\n"
        " endpoints. This package brings the hub with a Python environment of its own; it is\n"
        " not started until its settings name a broker.",
        "Suggests: rabbitmq-server, postgresql\n",
    ),
}


def build(part: str, debian: str, root: Path, release: Release, target: Path) -> Path:
    """Make the package of the files below `root`; return it. `root` is used up.

    Raises:
        BuildFailedError: dpkg-deb refused it.
    """
    python = next((root / f"opt/chamberlain/{part}/lib").glob("python3*")).name
    control = root / "DEBIAN"
    control.mkdir(mode=0o755)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [f"{_md5(file)}  {file.relative_to(root)}\n" for file in files]
    summary, description, more = _ABOUT[part]
    (control / "control").write_text(
        _CONTROL.format(
            part=part,
            version=release.of_debian(debian),
            architecture=architecture(),
            size=sum(-(-file.stat().st_size // 1024) for file in files),
            python=python.removeprefix("python"),
            depends=", libpam0g" if part == "endpoint" else "",
            more=more,
            summary=summary,
            description=description,
        )
    )
    (control / "md5sums").write_text("".join(sums))
    settings = [
        f"/{file.relative_to(root)}\n" for file in files if file.is_relative_to(root / "etc")
    ]
    if settings:
        (control / "conffiles").write_text("".join(settings))
    for name in _SCRIPTS:
        script = PACKAGING / part / f"debian.{name}"
        if script.exists():
            (control / name).write_text(script.read_text())
            (control / name).chmod(0o755)
    for path in (*control.iterdir(), control):
        os.utime(path, (release.epoch, release.epoch))
    name = f"chamberlain-{part}_{release.of_debian(debian)}_{architecture()}.deb"
    # One thread and a fixed strength: the bytes must not depend on the machine.
    how = ("--root-owner-group", "-Zzstd", "-z6", "--threads-max=1")
    cache.run(
        ["dpkg-deb", *how, "--build", root, target / name],
        environment={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": str(release.epoch)},
    )
    return target / name


def _md5(file: Path) -> str:
    # dpkg's own form: it finds damage, it proves nothing.
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
