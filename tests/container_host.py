"""What tests need of a host with a container engine: an account, an image, settings.

The image is made of the host's own Python, once: what is tested here is how containers are
run, not what is in them.
"""

from __future__ import annotations

import hashlib
import pwd
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.launcher_builders import ENDPOINT

from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    Mode,
    Mount,
    RuntimeKind,
    RuntimeSettings,
)

ROOT = Path(__file__).resolve().parent.parent
IMAGES = Path("/var/lib/chamberlain-test-images")
DIGEST = "sha256:" + hashlib.sha256(b"the python of this host").hexdigest()
_FILES = "bin lib lib64 sbin usr/bin usr/lib/python3* usr/lib/x86_64-linux-gnu/*.so* usr/lib64"


def account(name: str = "chtestbox", uid: int = 21001) -> Account:
    """Return an account of this host, made if it is missing."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "-m", "-u", str(uid), name], check=True)
    return look_up(name)


@cache
def image() -> Path:
    """Return the folder of images with one image in it."""
    root = IMAGES / DIGEST.replace(":", "-") / "root"
    if not (root / "done").exists():
        root.mkdir(parents=True, exist_ok=True)
        command = f"cd / && tar -c {_FILES} etc/nsswitch.conf | tar -x -C {root}"
        subprocess.run(["bash", "-c", command], check=True)
        for name in ("proc", "sys", "dev", "run", "tmp", "var/tmp", "home", "etc"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("etc/hosts", "etc/resolv.conf", "etc/passwd", "etc/group", "etc/hostname"):
            (root / name).touch()
        (root / "done").touch()
    return IMAGES


def settings(
    folder: Path, extra_mounts: tuple[Mount, ...] = (), **changes: Any
) -> LauncherSettings:
    """Return settings for containers whose records are below `folder`."""
    folder.chmod(0o755)
    return LauncherSettings(
        mode=Mode.MULTI,
        endpoint_id=ENDPOINT,
        socket=folder / "launcher.sock",
        state_dir=folder / "state",
        accounts_dir=folder,
        hub_keys=(),
        runtime=RuntimeSettings(
            kind=RuntimeKind.CONTAINER,
            images=(("test", DIGEST),),
            image="test",
            images_dir=image(),
            python=Path("/usr/bin/python3"),
            mounts=(Mount(ROOT, ROOT), *extra_mounts),
            **changes,
        ),
    )


def podman(*arguments: str) -> str:
    """Run a command of the engine's own; return what it says."""
    done = subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
