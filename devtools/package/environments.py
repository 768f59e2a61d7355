"""The Python environments below /opt/chamberlain, made in a chroot of the Debian they are for.

What we depend on is installed and compiled once for each set of wheels and kept in the lab's
cache; our own wheel goes on top with each build. Byte code is shipped: unchecked, by the hash of
its source, so neither a clock nor a stat decides whether it is good (ADR 0026 has figures).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devtools import environment
from devtools.lab import cache, software
from devtools.package.release import SUITES
from devtools.say import Reporter

WHERE: Final = Path("/opt/chamberlain")

# Mounts of its own, in a root that is thrown away. /mnt has the wheels, /opt/chamberlain what
# stays. pip runs from the wheel that python3-venv brings; no environment of ours contains it.
_CHROOT: Final = """\
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root/opt/chamberlain" "$1/root/mnt"
mount --bind "$3" "$1/root/opt/chamberlain"
mount --bind "$4" "$1/root/mnt"
mount -t proc proc "$1/root/proc"
new="$1/root"
shift 4
exec chroot "$new" sh -euc "$@"
"""
# Arguments: the part, what to compile, what to install. Some of what we depend on brings files
# for other Pythons, which nobody loads: that they do not compile is no fault.
_INSTALL: Final = """\
umask 022
home="/opt/chamberlain/$1"
compiled="$2"
shift 2
[ -d "$home" ] || python3 -m venv --without-pip "$home"
PYTHONPATH="$(echo /usr/share/python-wheels/pip-*.whl)" "$home/bin/python" -m pip install \
    --quiet --no-compile --no-index --find-links /mnt --no-cache-dir --no-warn-script-location \
    --disable-pip-version-check --root-user-action ignore "$@"
cd "$home/lib"/python*/site-packages
"$home/bin/python" -m compileall -q --invalidation-mode unchecked-hash $compiled >/dev/null || :
"""


def dependencies(debian: str, part: str, report: Reporter) -> Path:
    """Return the folder `/opt/chamberlain/<part>` as it is before our own wheel is in it.

    Raises:
        BuildFailedError: something could not be fetched or installed.
    """
    base, fetched = root(debian, report), wheels(debian, report)

    def build(made: Path) -> None:
        # Not by the names of what is in the cache: that is locked now.
        _install(base, fetched, part, made)
        (made / "wheels.sha256").write_text(_sums(made / part, fetched))

    key = hashlib.sha256(f"{fetched.name} {base.name} {_INSTALL}".encode()).hexdigest()[:16]
    text = f"Installing what the {part} depends on, for Debian {debian} (once)"
    return cache.entry(f"venv{debian}{part}", key, text, build, report)


def install_dependencies(debian: str, part: str, target: Path, report: Reporter) -> None:
    """Install and compile what `part` depends on into `target/<part>`.

    Raises:
        BuildFailedError: pip said no.
    """
    _install(root(debian, report), wheels(debian, report), part, target)


def _install(base: Path, fetched: Path, part: str, target: Path) -> None:
    _run(base, target, fetched, part, ".", *sorted(set(software.requirements((part,)))))


def put_together(debian: str, part: str, wheel: Path, target: Path, report: Reporter) -> None:
    """Make the folder `target/<part>`: what we depend on, and our `wheel`.

    Raises:
        BuildFailedError: it could not be installed.
    """
    below = dependencies(debian, part, report)
    shutil.copytree(below / part, target / part, symlinks=True)
    with tempfile.TemporaryDirectory() as given:
        shutil.copy(wheel, given)
        ours = "chamberlain chamberlain_wire chamberlain_hub chamberlain_endpoint"
        _run(root(debian, report), target, Path(given), part, ours, "--no-deps", "chamberlain")
    _settle(target / part, software.python_of(root(debian, report)))


def wheels(debian: str, report: Reporter) -> Path:
    """Return the folder of the wheels of all that we depend on, for the Python of `debian`.

    Raises:
        BuildFailedError: pip could not fetch them.
    """
    version = software.python_of(root(debian, report))

    def build(made: Path) -> None:
        software.fetch(software.requirements(("endpoint", "hub")), made, version)

    key = f"{version} {environment.packaging_hash()}"
    text = f"Fetching what Chamberlain depends on, for Python {version} (once)"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return cache.entry(f"wheels{debian}", name, text, build, report)


def root(debian: str, report: Reporter) -> Path:
    """Return a root of Debian `debian` with its Python, which nobody may change.

    Raises:
        BuildFailedError: mmdebstrap failed: most often the network or the archive.
    """
    return cache.base(report, SUITES[debian])


def _run(base: Path, opt: Path, given: Path, part: str, compiled: str, *wanted: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        alone = ["unshare", "--mount", "--propagation", "private", "--"]
        outer = ["sh", "-c", _CHROOT, "chroot", scratch, str(base), str(opt), str(given)]
        cache.run(
            [*alone, *outer, _INSTALL, "install", part, compiled, *wanted],
            # The order of a set must not find its way into byte code.
            environment={"PATH": _PATH, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )


_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _settle(home: Path, version: str) -> None:
    """Make the environment say the same wherever and whenever it was built."""
    links: Sequence[tuple[str, str]] = (("python", "python3"), (f"python{version}", "python3"))
    for name, target in (*links, ("python3", f"/usr/bin/python{version}")):
        link = home / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for name in ("Activate.ps1", "activate", "activate.csh", "activate.fish"):
        (home / "bin" / name).unlink(missing_ok=True)  # nobody works in it
    for name in ("lib64", ".gitignore"):
        (home / name).unlink(missing_ok=True)
    shutil.rmtree(home / "include", ignore_errors=True)
    # Root's programs: neither a variable nor the working folder adds to what they load.
    for script in ("chamberlain", "chamberlain-hub", "chamberlain-endpoint"):
        file = home / "bin" / script
        shebang, _, rest = file.read_text().partition("\n")
        file.write_text(f"#!{WHERE / home.name / 'bin/python'} -I\n{rest}")
        assert shebang.startswith("#!"), f"{file} is no script"


def _sums(home: Path, fetched: Path) -> str:
    """Return which wheels are in the environment, with their hashes."""
    inside = {
        one.name.removesuffix(".dist-info").lower().replace("-", "_")
        for one in home.glob("lib/python*/site-packages/*.dist-info")
    }
    lines = []
    for wheel in sorted(fetched.glob("*.whl")):
        name = "_".join(wheel.name.split("-")[:2]).lower()
        if name in inside:
            lines.append(f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n")
    return "".join(lines)
