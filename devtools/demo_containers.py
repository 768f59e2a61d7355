"""The demo's user endpoints in containers, where the machine can run them.

Their image is a skeleton: folders, links, and mount points for the machine's own `/usr` and the
installed programs, so that nothing is built or fetched. Whether the machine can is not guessed:
the launcher's own code tries a throwaway container of the first account.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from devtools.programs import Programs

SOCKET: Final = Path("/run/podman/podman.sock")
_IMAGES: Final = "images"
_FOLDERS: Final = ("proc", "sys", "dev", "run", "tmp", "var/tmp", "etc", "usr")
_LINKS: Final = ("bin", "lib", "lib64", "sbin")
_OURS: Final = frozenset({"subordinate ids", "user namespaces", "engine", "container"})
_TRY: Final = "chamberlain_endpoint.launcher.try_container"
_TRY_S: Final = 120.0
_RUNTIME: Final = """
[runtime]
kind = "container"
socket = "{socket}"
image = "usual"
images_dir = "{images}"
python = "{python}"
mounts = ["/usr", "{programs}"]
[runtime.images]
usual = "{digest}"
"""


def why_not(*, is_root: bool, socket: Path = SOCKET) -> str:
    """Return why containers need not even be tried; empty: try.

    Args:
        socket: where Podman would answer.
    """
    if not is_root:
        return "containers need root"
    if not socket.is_socket():
        return f"no container engine answers at {socket} (podman.socket, of Podman 5)"
    if any(not Path("/", name).is_symlink() for name in _LINKS if Path("/", name).exists()):
        return "the demo's image needs a machine whose programs are all below /usr"
    return ""


def try_one(
    launcher_toml: Path, where: Path, programs: Programs, account: str, socket: Path = SOCKET
) -> tuple[str, dict[str, object]]:
    """Run a container of `account` as the launcher would.

    Args:
        launcher_toml: settings with which user endpoints are processes; they stay as they are.
        where: the demo's folder; the image goes below it.

    Returns:
        Why it did not work (empty: it did), and the role's variables with which it works.
    """
    digest = _make_image(where / _IMAGES)
    runtime = _RUNTIME.format(
        socket=socket,
        images=where / _IMAGES,
        python=programs.python,
        programs=programs.folder,
        digest=digest,
    )
    # Beside the real one: only root may have written where the launcher's settings are.
    draft = launcher_toml.with_name("launcher-of-a-try.toml")
    try:
        draft.touch(mode=0o600)
        draft.write_text(f"{launcher_toml.read_text()}\n{runtime}")
        fault = first_fault(_try(programs, draft, account))
    finally:
        draft.unlink()
    return fault, {
        "endpoint_runtime": "container",
        "endpoint_packages": [],  # the engine is there
        "endpoint_image_digest": digest,
        "endpoint_images_folder": str(where / _IMAGES),
        "endpoint_mounts": ["/usr", str(programs.folder)],
        "endpoint_runtime_settings": {"python": str(programs.python), "socket": str(socket)},
    }


def first_fault(links: Iterable[Mapping[str, str]]) -> str:
    """Return the first of the links that is broken and that a container cannot be without."""
    for one in links:
        if one["link"] in _OURS and one["state"] == "bad":
            return f"{one['link']}: {one['said']}"
    return ""


def _try(programs: Programs, launcher_toml: Path, account: str) -> list[dict[str, str]]:
    words = ["-I", "-m", _TRY, "--config", str(launcher_toml), "--account", account]
    try:
        done = subprocess.run(
            [str(programs.python), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRY_S,
            check=True,
        )
        found: list[dict[str, str]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [{"link": "container", "state": "bad", "said": str(error), "todo": ""}]
    return found


def _make_image(images: Path) -> str:
    """Make the skeleton anew; return its name, which has the form of a digest."""
    digest = hashlib.sha256(" ".join((*_FOLDERS, *_LINKS)).encode()).hexdigest()
    shutil.rmtree(images, ignore_errors=True)
    root = images / f"sha256-{digest}" / "root"
    for name in _FOLDERS:
        (root / name).mkdir(mode=0o755, parents=True)
    for name in _LINKS:
        if Path("/", name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    # Whatever our own mask is: nobody but root writes there, and everybody reads.
    for path in (images, images / f"sha256-{digest}", root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return f"sha256:{digest}"
