"""The files of one package, as they will lie on the host."""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from devtools.lab import cache
from devtools.package.environments import WHERE
from devtools.paths import PYTHON, ROOT, VENV

PACKAGING: Final = ROOT / "packaging"
_COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/{program}",
    "zsh": "usr/share/zsh/vendor-completions/_{program}",
    "fish": "usr/share/fish/vendor_completions.d/{program}.fish",
}


def lay_out(part: str, environment: Path, sums: Path, root: Path) -> None:
    """Put all files of the package of `part` into the empty folder `root`.

    Args:
        environment: what becomes /opt/chamberlain/<part>; it is moved.
        sums: the list of the wheels that are in it.

    Raises:
        BuildFailedError: a manual page or a completion could not be made.
    """
    given = PACKAGING / part
    program = f"chamberlain-{part}"
    opt = root / WHERE.relative_to("/")
    opt.mkdir(parents=True)
    shutil.move(environment, opt / part)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin" / program).symlink_to(WHERE / part / "bin" / program)
    for unit in sorted(given.glob("*.service")):
        _put(root, unit, f"usr/lib/systemd/system/{unit.name}")
    _put(root, given / "sysusers.conf", f"usr/lib/sysusers.d/{program}.conf")
    document = root / f"usr/share/doc/{program}"
    _put(root, ROOT / "LICENSE", f"usr/share/doc/{program}/copyright")
    _put(root, sums, f"usr/share/doc/{program}/wheels.sha256")
    assert document.is_dir(), "what stands there is what dpkg asks for"
    if part == "endpoint":
        _put(root, given / "tmpfiles.conf", f"usr/lib/tmpfiles.d/{program}.conf")
        _put(root, given / "logrotate", f"etc/logrotate.d/{program}")
        defaults = ROOT / "endpoint/chamberlain_endpoint/cli/defaults"
        _put(root, defaults / f"{program}.pam", f"etc/pam.d/{program}")
        (root / "etc/chamberlain").mkdir(mode=0o755)
    else:
        _put(root, given / "hub.toml", f"usr/share/{program}/hub.toml")
        (root / "etc/chamberlain").mkdir(mode=0o755, parents=True)
    _document(root, program)


def settle(root: Path, epoch: int) -> None:
    """Give every file below `root` one time, and modes that no umask of the builder decides."""
    for folder, _, names in os.walk(root):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            if not path.is_symlink():
                is_program = path.is_dir() or path.stat().st_mode & 0o100
                path.chmod(0o755 if is_program else 0o644)
    for folder, inner, names in os.walk(root, topdown=False):
        for name in (*inner, *names):
            os.utime(Path(folder) / name, (epoch, epoch), follow_symlinks=False)
    os.utime(root, (epoch, epoch))


def _put(root: Path, source: Path, target: str) -> None:
    place = root / target
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def _document(root: Path, program: str) -> None:
    for name, content in _documents(program):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


@functools.cache
def _documents(program: str) -> tuple[tuple[str, bytes], ...]:
    """Return manual page and completions of `program`: the same for every system."""
    with tempfile.TemporaryDirectory() as pages:
        cache.run([PYTHON, "-m", "devtools.manpages", pages], environment=_plain())
        page = (Path(pages) / f"{program}.1").read_bytes()
    found = [(f"usr/share/man/man1/{program}.1.gz", gzip.compress(page, mtime=0))]
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    for shell, pattern in _COMPLETIONS.items():
        asked = _plain() | {variable: f"{shell}_source"}
        said = cache.run([VENV / "bin" / program], environment=asked)
        found.append((pattern.format(program=program), said.encode()))
    return tuple(found)


def _plain() -> dict[str, str]:
    path = "/usr/local/bin:/usr/bin:/bin"
    above = ":".join(str(ROOT / name) for name in ("", "wire", "sdk", "hub", "endpoint"))
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": "/", "PYTHONPATH": above}
