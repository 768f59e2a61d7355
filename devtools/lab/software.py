"""Our programs on the hosts: an environment of the hosts' own Python below /opt, shared by all.

What we depend on is fetched once by this machine's pip, as wheels for the hosts' Python, and
installed without network; the checkout itself goes on top each time a lab comes up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools import environment as own_environment
from devtools.lab import cache
from devtools.paths import PYTHON, ROOT
from devtools.say import Reporter

if TYPE_CHECKING:
    from devtools.lab.lab import Lab

WHERE: Final = Path("/opt/chamberlain")
"""The environment, on every host."""
_EXTRAS: Final = ("endpoint", "hub")
_TEST_TOOLS: Final = ("pytest", "pytest-timeout", "hypothesis")

# In a root made of the base and a layer that is thrown away; the environment is what stays.
_INSTALL: Final = """\
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root/opt" "$1/root/mnt"
mount --bind "$3" "$1/root/opt"
mount --bind "$4" "$1/root/mnt"
mount -t proc proc "$1/root/proc"
shift 4
exec chroot "$SCRATCH/root" sh -euc '
python3 -m venv /opt/chamberlain
exec /opt/chamberlain/bin/python -m pip install --quiet --disable-pip-version-check \
    --no-cache-dir --no-index --find-links /mnt -- "$@"
' install "$@"
"""


def environment(base: Path, report: Reporter) -> Path:
    """Return the folder that becomes /opt: all that we depend on, and what builds a wheel.

    Raises:
        BuildFailedError: pip could not fetch or install.
    """

    fetched = wheels(base, report)

    def build(made: Path) -> None:
        shutil.copytree(fetched / "build", made / "wheels")
        with tempfile.TemporaryDirectory() as scratch:
            cache.run(
                [
                    *("unshare", "--mount", "--propagation", "private", "--"),
                    *("sh", "-c", _INSTALL, "install", scratch, base, made, fetched / "run"),
                    *sorted(set(requirements(_EXTRAS))),
                ],
                environment={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SCRATCH": scratch},
            )

    key = hashlib.sha256(f"{fetched.name} {_INSTALL}".encode()).hexdigest()[:16]
    text = "Installing what Chamberlain depends on for the hosts' Python (once)"
    return cache.entry("opt", key, text, build, report)


def wheels(base: Path, report: Reporter) -> Path:
    """Return the folder of wheels: below `run` what we depend on, below `build` what builds ours.

    Raises:
        BuildFailedError: pip could not fetch them.
    """
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def build(made: Path) -> None:
        fetch(requirements(_EXTRAS), made / "run", python_of(base))
        fetch(document["build-system"]["requires"], made / "build", python_of(base))

    parts = f"{python_of(base)} {own_environment.packaging_hash()} {_EXTRAS}"
    key = hashlib.sha256(parts.encode()).hexdigest()[:16]
    text = "Fetching what Chamberlain depends on, for the hosts' Python (once)"
    return cache.entry("wheels", key, text, build, report)


def test_tools(base: Path, report: Reporter) -> Path:
    """Return a folder for the hosts' PYTHONPATH with what runs our tests there.

    Raises:
        BuildFailedError: pip could not fetch it.
    """
    return _tools(base, report, "runs our tests", set(requirements(("dev",))), _TEST_TOOLS)


def ansible(base: Path, report: Reporter) -> Path:
    """Return a folder for the hosts' PYTHONPATH with Ansible.

    Raises:
        BuildFailedError: pip could not fetch it.
    """
    return _tools(
        base, report, "plays playbooks", set(requirements(("deploy",))), ("ansible-core",)
    )


def compose(base: Path, report: Reporter) -> Path:
    """Return a folder for the hosts' PYTHONPATH with podman-compose, newer than Debian's.

    Raises:
        BuildFailedError: pip could not fetch it.
    """
    named, names = set(requirements(("dev",))), ("podman-compose",)
    return _tools(base, report, "reads compose files", named, names, kind="compose")


def _tools(
    base: Path,
    report: Reporter,
    does: str,
    named: set[str],
    names: Sequence[str],
    *,
    kind: str = "tools",
) -> Path:
    wanted = sorted(one for one in named if one.partition(">")[0] in names)

    def build(made: Path) -> None:
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        chosen = ("--python-version", python_of(base), "--only-binary", ":all:")
        cache.run([PYTHON, *pip, *chosen, "--no-compile", "--target", made, *wanted])

    key = hashlib.sha256(f"{python_of(base)} {wanted}".encode()).hexdigest()[:16]
    text = f"Fetching what {does}, for the hosts' Python (once)"
    return cache.entry(kind, key, text, build, report)


def install(lab: Lab, layer: Path) -> None:
    """Install the checkout on all hosts of a lab that is up.

    Raises:
        BuildFailedError: it could not be built into a wheel.
        InsideError: the hosts' pip refused it.
    """
    wheel = build_wheel(layer / "wheels", lab.share)
    lab.run(
        "hub",
        [
            *(str(WHERE / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--no-index", "--no-cache-dir", "--disable-pip-version-check"),
            *("--force-reinstall", f"/srv/lab/{wheel.name}"),
        ],
    )


def build_wheel(builders: Path, target: Path, *, epoch: int | None = None) -> Path:
    """Build the checkout's wheel into the folder `target`, without network; return it.

    Args:
        epoch: time of the files in it, in seconds; None: pip's choice.
    """
    fixed = {} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)}
    for old in target.glob("chamberlain-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        # pip builds in the tree itself otherwise, where another build may be at work.
        cache.run(
            [
                *(PYTHON, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--no-index", "--find-links", builders, "-w", scratch, ROOT),
            ],
            environment={**os.environ, **fixed},
        )
        (made,) = Path(scratch).glob("chamberlain-*.whl")
        return Path(shutil.move(made, target / made.name))


def python_of(base: Path) -> str:
    """Return the version of the hosts' Python, such as `3.13`."""
    return (base / "usr/bin/python3").readlink().name.removeprefix("python")


def requirements(extras: Sequence[str]) -> list[str]:
    """Return what the checkout depends on, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


def fetch(wanted: Sequence[str], target: Path, version: str) -> None:
    """Fetch wheels of `wanted` and of all that they need, for the Python `version`.

    Raises:
        BuildFailedError: pip could not.
    """
    pip = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    chosen = ("--python-version", version, "--only-binary", ":all:", "-d", target)
    cache.run([PYTHON, *pip, *chosen, *wanted])
