"""Debian packages that the tests and the demo need, installed without starting a service.

We start RabbitMQ and PostgreSQL ourselves, on free ports and as throwaway nodes. A service
of the distribution's would take the well-known ports and stay behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from devtools.say import CannotGoOnError, Reporter

_PROVES: Final = MappingProxyType(
    {
        "rabbitmq-server": "usr/lib/rabbitmq/bin/rabbitmq-server",
        "postgresql": "usr/lib/postgresql/*/bin/postgres",
        "systemd": "usr/bin/systemd-analyze",
        "systemd-container": "usr/bin/systemd-nspawn",
        "mmdebstrap": "usr/bin/mmdebstrap",
        "debian-archive-keyring": "usr/share/keyrings/debian-archive-trixie-stable.gpg",
        "iproute2": "usr/sbin/ip",
        "openssh-client": "usr/bin/ssh",
        "qemu-system-x86": "usr/bin/qemu-system-x86_64",
        "e2fsprogs": "usr/sbin/mke2fs",
        "apt-utils": "usr/bin/apt-ftparchive",
        "gpg": "usr/bin/gpg",
        "rpm": "usr/bin/rpmbuild",
        "groff-base": "usr/bin/groff",
        "python3-venv": "usr/lib/python3*/ensurepip/__init__.py",
    }
)
LAB: Final = (
    *("mmdebstrap", "systemd-container", "debian-archive-keyring"),
    *("iproute2", "openssh-client"),
)
"""What `./dev lab` needs."""
PACKAGING: Final = (*LAB, "apt-utils", "gpg", "rpm")
"""What `./dev package` needs."""
MACHINE: Final = (*LAB, "qemu-system-x86", "e2fsprogs")
"""What `./dev test vm` needs."""
PACKAGES_OF_MARKS: Final = MappingProxyType(
    {
        "needs_rabbit": ("rabbitmq-server",),
        "needs_postgres": ("postgresql",),
        "needs_systemd": ("systemd",),
        "needs_groff": ("groff-base",),
        "needs_lab": LAB,
        "needs_packages": PACKAGING,
        "needs_vm": MACHINE,
    }
)
"""Markers of tests -> the packages without which they cannot run."""
_POLICY: Final = Path("/usr/sbin/policy-rc.d")


class PackagesMissingError(CannotGoOnError):
    """Packages are missing and could not be installed; the message says what to type."""


def missing(names: Sequence[str]) -> list[str]:
    """Return those of `names` that are not installed."""
    return [name for name in names if not any(Path("/").glob(_PROVES[name]))]


def ensure(names: Sequence[str], report: Reporter) -> list[str]:
    """Install what is missing of `names`, if we are root; return what was installed.

    Raises:
        PackagesMissingError: we are not root, or apt failed.
    """
    wanted = missing(names)
    if not wanted:
        return []
    command = f"apt-get install --no-install-recommends {' '.join(wanted)}"
    if os.geteuid() != 0:
        raise PackagesMissingError(f"Missing: {', '.join(wanted)}. Install with: sudo {command}")
    with report.step(f"Installing Debian packages (no service is started): {', '.join(wanted)}"):
        with _services_held():
            _apt("update", "-qq")
            _apt("install", "-y", "-qq", "--no-install-recommends", *wanted)
        _keep_off_at_boot(wanted)
    if still := missing(wanted):
        raise PackagesMissingError(f"apt-get installed, yet these are missing: {', '.join(still)}")
    return wanted


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PackagesMissingError(f"apt-get {' '.join(arguments)} failed:\n{done.stdout[-2000:]}")


@contextlib.contextmanager
def _services_held() -> Iterator[None]:
    """Keep package scripts from starting services, as Debian's policy layer offers."""
    if _POLICY.exists():
        yield  # somebody else's policy; it is not ours to change
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _keep_off_at_boot(names: Sequence[str]) -> None:
    # Only what we have just installed: an administrator's own service keeps its setting.
    if shutil.which("systemctl") is None:
        return
    for name in names:
        if name in ("rabbitmq-server", "postgresql"):
            subprocess.run(
                ["systemctl", "--quiet", "disable", name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
