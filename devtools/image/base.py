"""The Debian that our images stand on, where no registry gives one: made by mmdebstrap.

It has what an image is for, such as the scheduler's commands and munge, no apt, no set-user-id
program, no key or data that its packages made for themselves, and no file that not everybody may
read: its files are used by every account alike, and owned by none of them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
from pathlib import Path
from typing import Final

from devtools.lab import cache, recipe
from devtools.say import Reporter

PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
"""What an image with our programs needs."""
SCHEDULER: Final = ("munge", "slurm-client")
"""What an image needs beside `PACKAGES` to submit jobs."""

_REMOVED: Final = (
    *("etc/shadow*", "etc/gshadow*", "etc/munge/munge.key", "etc/machine-id", "etc/.pwd.lock"),
    *("var/cache/*", "var/log/*", "var/lib/apt/*", "usr/share/info/*", "usr/share/lintian/*"),
    "etc/resolv.conf",
    # What RabbitMQ's and PostgreSQL's packages make when they are installed: it would be the same
    # key, cookie and database for everybody.
    *("etc/ssl/private/*", "etc/ssl/certs/ssl-cert-snakeoil.pem", "etc/postgresql/*/*"),
    *("var/lib/postgresql/*", "var/lib/rabbitmq/*"),
)


def tar(report: Reporter, image: str, packages: tuple[str, ...]) -> Path:
    """Return the base as a tar file in the cache; build it when it is absent.

    Args:
        image: whose base it is; that of each image is kept for itself.
        packages: Debian packages beside the essential ones.

    Raises:
        BuildFailedError: mmdebstrap failed: most often the network or the archive.
    """

    def build(made: Path) -> None:
        root = made / "root"
        mirror = os.environ.get("CHAMBERLAIN_LAB_MIRROR", "")
        command = recipe.mmdebstrap_arguments(root, mirror, packages, "essential")
        cache.run(["unshare", "--mount", "--propagation", "private", "--", *command])
        open_to_all(root)
        cache.run(
            ["tar", "--numeric-owner", "--sort=name", "-C", root, "-cf", made / "base.tar", "."]
        )
        shutil.rmtree(root)

    text = f"Building the Debian {recipe.SUITE} of the image {image} (once)"
    return cache.entry(f"{image}-rootfs", _hash(packages), text, build, report) / "base.tar"


def open_to_all(root: Path) -> None:
    """Remove secrets and caches below `root`, and let everybody read the rest, as themselves."""
    for pattern in _REMOVED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                path.chmod(_opened(mode))


def _opened(mode: int) -> int:
    """Return the mode with which everybody may read what its owner may, and nothing more."""
    plain = stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID)
    return plain | 0o444 | (0o111 if plain & 0o100 else 0)


def _hash(packages: tuple[str, ...]) -> str:
    command = recipe.mmdebstrap_arguments(Path(), "", packages, "essential")
    words = [*command, *_REMOVED, platform.machine()]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
