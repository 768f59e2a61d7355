"""Public packages that tests compare with, each set in an environment of its own.

They never stand in `.venv`: nothing of ours may come to import them. Other accounts must be
able to run them, because the public agent's user endpoints do.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devtools.environment import pip_install
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter

PACKAGES: Final = ("globus-identity-mapping==0.5.0", "globus-compute-common==1.0.0")
"""Exact versions: a difference that a test lists is one from these."""

AGENT_NEWEST: Final = ("globus-compute-endpoint==4.19.0",)
"""The newest release when this was written (October 2026). A newer one is tried by hand first."""

AGENT_YEAR_BEFORE: Final = ("globus-compute-endpoint==3.15.0",)
"""The release that was the newest one year before `AGENT_NEWEST` (September 2025)."""

SDK_NEWEST: Final = ("globus-compute-sdk==4.19.0",)
"""The newest release when this was written (October 2026). A newer one is tried by hand first."""

SDK_YEAR_BEFORE: Final = ("globus-compute-sdk==3.16.1",)
"""The release that was the newest one year before `SDK_NEWEST`."""

EVERYTHING: Final = (PACKAGES, SDK_NEWEST, SDK_YEAR_BEFORE, AGENT_NEWEST, AGENT_YEAR_BEFORE)
"""All sets that the compatibility tests use."""

_INSIDE: Final = ROOT / ".venv-public"
_OUTSIDE: Final = Path(f"/var/tmp/chamberlain-{os.geteuid()}-venv-public")  # noqa: S108 (checked)
"""For a checkout that other accounts cannot enter; ours alone to write, made again when gone."""
_ENTERABLE: Final = 0o001
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")


class NotForOthersError(CannotGoOnError):
    """Other accounts cannot run what lies in the checkout; the message names the folder."""


def prepare(report: Reporter) -> None:
    """Make all environments that are not there yet.

    Raises:
        InstallError: pip could not install. It is the network, or the registry.
    """
    for packages in EVERYTHING:
        python(packages, report)


def python(packages: Sequence[str] = PACKAGES, report: Reporter | None = None) -> Path:
    """Return an interpreter that has just these packages, made when it is first asked for.

    Raises:
        InstallError: pip could not install them. It is the network, or the registry.
    """
    folder = _folder() / "-".join(packages).replace("==", "-")
    found, stamp, wanted = folder / "bin" / "python", folder / "installed", "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        with (report or Reporter()).step(
            f"Installing into {folder.parent.name}: {' '.join(packages)}"
        ):
            # The system's first: other accounts can execute it.
            base = _SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else Path(sys.executable)
            subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True)
            pip_install([str(found)], list(packages))
            stamp.write_text(wanted)
    return found


def python_for_all(packages: Sequence[str]) -> Path:
    """Return the same, checked to be executable by every account.

    Raises:
        InstallError: pip could not install them.
        NotForOthersError: the checkout, or its Python, lies where others cannot enter.
    """
    found = python(packages)
    for path in (found.absolute(), found.resolve()):
        closed = _closed(path)
        if closed is not None:
            raise NotForOthersError(f"Other accounts cannot enter {closed}: clone elsewhere.")
    return found


def _folder() -> Path:
    if _closed(_INSIDE) is None:
        return _INSIDE
    _OUTSIDE.mkdir(mode=0o755, exist_ok=True)
    seen = _OUTSIDE.lstat()
    is_ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
    if not is_ours or seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotForOthersError(f"{_OUTSIDE} is not ours alone to write: remove it.")
    return _OUTSIDE


def _closed(path: Path) -> Path | None:
    """Return the first folder on the way to `path` that others cannot enter."""
    for folder in path.parents:
        if not folder.stat().st_mode & _ENTERABLE:
            return folder
    return None
