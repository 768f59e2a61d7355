"""What `.venv` holds beyond the core that the bootstrap script installed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
from typing import Final

from devtools.paths import PYTHON, ROOT, VENV
from devtools.say import CannotGoOnError, Reporter

EVERYTHING: Final = "endpoint,hub,dev"
"""The extras that people who work here need."""


class InstallError(CannotGoOnError):
    """pip could not install; the message holds the end of what it said."""


def ensure(extras: str, report: Reporter) -> None:
    """Install the extras (such as `endpoint,hub,dev`) into `.venv`, unless they are there.

    Raises:
        InstallError: pip failed. Show the message; it is the machine or the network.
    """
    stamp = VENV / f"installed-{extras.replace(',', '-')}"
    wanted = f"{packaging_hash()} {ROOT}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with report.step(f"Installing into .venv: {extras}"):
        pip_install([str(PYTHON)], ["--editable", f"{ROOT}[{extras}]"])
    stamp.write_text(wanted)


def packaging_hash() -> str:
    """Return a hash of what pip reads of `pyproject.toml`: tool settings do not count."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    read = {
        "build": document["build-system"],
        "project": document["project"],
        "hatch": document["tool"]["hatch"],
    }
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def pip_install(python: list[str], what: list[str]) -> None:
    """Run pip of the given interpreter, quietly.

    Raises:
        InstallError: it failed.
    """
    done = subprocess.run(
        [*python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InstallError(f"pip could not install {' '.join(what)}:\n{done.stdout[-3000:]}")
