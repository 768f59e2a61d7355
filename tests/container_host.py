"""What tests need of a host with a container engine: an account, an image, settings.

The image is made of the host's own Python, once: what is tested here is how containers are
run, not what is in them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import docker
from tests.launcher_builders import ENDPOINT

from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.settings import (
    EngineKind,
    LauncherSettings,
    Mode,
    Mount,
    RuntimeKind,
    RuntimeSettings,
)
from devtools.paths import TEST_ENGINE_VARIABLE

ENGINE = EngineKind(os.environ.get(TEST_ENGINE_VARIABLE, "podman"))
SOCKET = Path("/run/podman/podman.sock" if ENGINE is EngineKind.PODMAN else "/run/docker.sock")
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


@cache
def digest() -> str:
    """Return what the engine calls the image; with Docker it is loaded there first."""
    root = image() / DIGEST.replace(":", "-") / "root"
    if ENGINE is EngineKind.PODMAN:
        return DIGEST
    name = "chtest/python"
    # Engines leave what they mount upon there, as ids that Docker's map does not have.
    tar = ["tar", "-C", str(root), "--numeric-owner", "--owner=0", "--group=0", "-c", "."]
    if not api().images(name=f"{name}:1"):
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as files:
            assert files.stdout is not None
            api().import_image_from_stream(files.stdout, repository=name, tag="1")
    return str(api().inspect_image(f"{name}:1")["Id"])


@cache
def api() -> docker.APIClient:
    """Return the engine's own interface."""
    return docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=60)


def of_endpoint(endpoint: str) -> list[str]:
    """Return the ids of all containers in whose labels the endpoint stands."""
    label = f"org.chamberlain.endpoint={endpoint}"
    return [one["Id"] for one in api().containers(all=True, filters={"label": label})]


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
            engine=ENGINE,
            socket=SOCKET,
            # Docker refuses the host's network together with its map.
            network="host" if ENGINE is EngineKind.PODMAN else "bridge",
            images=(("test", digest()),),
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
