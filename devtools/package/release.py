"""What is packaged: which version, of which moment, and for which systems."""

from __future__ import annotations

import os
import platform
import subprocess
import tomllib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from devtools.paths import ROOT
from devtools.say import CannotGoOnError

SUITES: Final = MappingProxyType({"12": "bookworm", "13": "trixie"})
"""Release of Debian -> name of its suite."""
PARTS: Final = ("endpoint", "hub")
"""What has a package of its own; also the extra of the wheel, and the folder in /opt."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release: all packages built from it name the same version.

    Attributes:
        version: of the distribution, as in `pyproject.toml`.
        revision: counts up, so that a later build replaces an earlier one.
        epoch: seconds; the time of every file in every package.
    """

    version: str
    revision: str
    epoch: int

    def of_debian(self, debian: str) -> str:
        """Return the version of packages for Debian `debian`, such as `13`."""
        return f"{self.version}-{self.revision}~deb{debian}"


def current(revision: str | None) -> Release:
    """Return the release that the checkout is.

    Args:
        revision: instead of the number of commits.

    Raises:
        CannotGoOnError: git does not know the checkout, and the environment says nothing.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    chosen = revision or _git("rev-list", "--count", "HEAD")
    if not epoch.isdecimal() or not chosen:
        raise CannotGoOnError(
            "git says nothing of this checkout. Give --revision NUMBER, and SOURCE_DATE_EPOCH "
            "(seconds) in the environment."
        )
    return Release(version, chosen, int(epoch))


def architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    return known.get(platform.machine(), platform.machine())


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
