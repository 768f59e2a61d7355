"""Chamberlain installed as a site would install it: where every account can run it.

The checkout's own `.venv` will not do: it may be below a home that others cannot enter, and
its Python may be, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devtools import debian, environment, rules
from devtools.paths import ROOT
from devtools.say import Reporter

_SYSTEM_PYTHON = Path("/usr/bin/python3")
_NEWEST_TRIED = ("python3.14", "python3.13", "python3.12", "python3.11")
_PACKAGED = ("wire/", "sdk/", "hub/", "endpoint/", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True, slots=True)
class Programs:
    """An environment with Chamberlain in it."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def hub(self) -> Path:
        """`chamberlain-hub`."""
        return self.folder / "bin" / "chamberlain-hub"

    @property
    def endpoint(self) -> Path:
        """`chamberlain-endpoint`."""
        return self.folder / "bin" / "chamberlain-endpoint"


def install(folder: Path, report: Reporter) -> Programs:
    """Install the checkout into `folder`, unless just this is there already.

    Raises:
        InstallError: no usable Python, or pip failed.
        PackagesMissingError: Debian packages are missing.
    """
    programs = Programs(folder)
    stamp = folder / "installed"
    packaging, source = environment.packaging_hash(), source_hash()
    had = stamp.read_text().split() if stamp.exists() else []
    if had == [packaging, source]:
        return programs
    with readable_by_all():
        if had[:1] == [packaging]:
            with report.step(f"Installing the changed checkout into {folder}"):
                _pip(programs, ["--no-deps", "--force-reinstall", str(ROOT)])
        else:
            python = base_python(report)
            with report.step(f"Installing Chamberlain and what it needs into {folder}"):
                shutil.rmtree(folder, ignore_errors=True)
                folder.parent.mkdir(parents=True, exist_ok=True)
                make_environment(python, folder)
                _pip(programs, [f"{ROOT}[endpoint,hub]"])
        stamp.write_text(f"{packaging} {source}")
    return programs


def base_python(report: Reporter) -> Path:
    """Return the Python for programs that all accounts run.

    Raises:
        CannotGoOnError: there is none, or it lacks what an environment needs.
    """
    if os.geteuid() != 0:
        return Path(sys.executable)
    # Other accounts run it: a Python of root's own will not do.
    candidates = [_SYSTEM_PYTHON, *(Path("/usr/bin") / name for name in _NEWEST_TRIED)]
    for python in candidates:
        if python.exists() and _new_enough(python):
            if python.resolve() == _SYSTEM_PYTHON.resolve():
                debian.ensure(["python3-venv"], report)
            return python
    raise environment.InstallError(
        "User endpoints run as other accounts, so a system-wide Python 3.11 or newer is needed: "
        "apt-get install python3 python3-venv"
    )


def _new_enough(python: Path) -> bool:
    question = "import sys; raise SystemExit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", question], check=False).returncode == 0


def make_environment(python: Path, folder: Path) -> None:
    """Make an environment of `python` in `folder`.

    Raises:
        InstallError: it could not.
    """
    done = subprocess.run(
        [python, "-m", "venv", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise environment.InstallError(f"{python} could not make {folder}:\n{done.stdout}")


def _pip(programs: Programs, what: list[str]) -> None:
    environment.pip_install([str(programs.python)], what)


def source_hash() -> str:
    """Return a hash of every file that goes into the distribution."""
    digest = hashlib.sha256()
    for path in sorted(rules.tracked_files(ROOT)):
        name = str(path.relative_to(ROOT))
        if name.startswith(_PACKAGED):
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def readable_by_all() -> Iterator[None]:
    """Let everybody read what is made in the block, whatever our own mask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
