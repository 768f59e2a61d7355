"""Public packages that tests compare with, in an environment of their own.

They never stand in `.venv`: nothing of ours may come to import them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from devtools.environment import pip_install
from devtools.paths import ROOT

PACKAGES: Final = ("globus-identity-mapping==0.5.0", "globus-compute-common==1.0.0")
"""Exact versions: a difference that a test lists is one from these."""

_FOLDER: Final = ROOT / ".venv-public"


def python() -> Path:
    """Return an interpreter that has the public packages, made when it is first asked for.

    Raises:
        InstallError: pip could not install them. It is the network, or the registry.
    """
    found = _FOLDER / "bin" / "python"
    stamp = _FOLDER / "installed"
    wanted = "\n".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        pip_install([str(found)], list(PACKAGES))
        stamp.write_text(wanted)
    return found
