"""The disk of the virtual machine: the lab's Debian and a kernel, and all that a site needs.

Everything that can be done here is done before it boots: without acceleration the machine is ten
times slower than we are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.image.build import Image
from devtools.lab import cache, furnish, recipe, software
from devtools.lab.plan import LOGIN, Host, Plan
from devtools.say import Reporter

PACKAGES: Final = (*recipe.PACKAGES, "linux-image-cloud-amd64")
DEVICE: Final = "eth0"
PLAN: Final = Plan(only=(LOGIN,))
"""The machine is a lab's login node. Hub and broker are outside: here they would take minutes."""

_UNITS: Final = ("munge.service", "podman.socket")
_SIZE: Final = "6G"
# Of qemu's user network: the guest, and the way to the machine.
_GUEST: Final = "10.0.2.15/24"
_INTO: Final = (
    *("sh", "-euc", 'mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; exec chroot "$@"'),
    "into",
)
_NETWORK: Final = """\
[Unit]
Description=Addresses of this host, and of the way in
DefaultDependencies=no
After=systemd-udevd.service
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set lo up
{addresses}ExecStart=ip address add {guest} dev {device}
ExecStart=ip link set {device} up
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """What qemu starts.

    Attributes:
        file: the root file system, without partitions.
        kernel: outside it, as `initrd` is.
        keys: the way in.
    """

    file: Path
    kernel: Path
    initrd: Path
    keys: furnish.Secrets


def base(report: Reporter) -> Path:
    """Return the root of the machine, which nobody may change; build it when it is absent.

    Raises:
        BuildFailedError: mmdebstrap failed: most often the network or the archive.
    """

    def build(root: Path) -> None:
        mirror = os.environ.get("CHAMBERLAIN_LAB_MIRROR", "")
        apart = ("unshare", "--mount", "--propagation", "private", "--")
        cache.run([*apart, *recipe.mmdebstrap_arguments(root, mirror, PACKAGES)])
        recipe.scrub(root)

    text = f"Building a Debian {recipe.SUITE} with a kernel, of {len(PACKAGES)} packages (once)"
    return cache.entry("vm", recipe.base_hash(PACKAGES), text, build, report)


def disk(image: Image, folder: Path, finish: Callable[[Path], None], report: Reporter) -> Disk:
    """Write the machine's disk below `folder`.

    Args:
        image: the user endpoints' image, which is installed on it.
        finish: called with the root when it is as a lab's host, with our programs.

    Raises:
        BuildFailedError: a step failed; the message holds what it said.
    """
    made_from = base(report)
    layer = software.environment(made_from, report)
    keys = furnish.make_secrets(folder / "keys", PLAN)
    root = folder / "root"
    with report.step("Writing the virtual machine's disk"):
        with cache.in_use(made_from):
            cache.run(["cp", "-a", "--reflink=auto", made_from, root])
        recipe.apply(root, has_own_kernel=True)
        _furnish(root, keys)
        _install(root, layer, image)
        finish(root)
        file = folder / "disk.img"
        cache.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, file, _SIZE])
        found = {name: folder / name for name in ("vmlinuz", "initrd.img")}
        for name, target in found.items():
            (source,) = (root / "boot").glob(f"{name}-*")
            shutil.copy(source, target)
        shutil.rmtree(root)
    return Disk(file, found["vmlinuz"], found["initrd.img"], keys)


def _furnish(root: Path, keys: furnish.Secrets) -> None:
    furnish.furnish(root, Host(LOGIN, PLAN.hosts[0].address, _UNITS), PLAN, keys)
    for name in ("etc", "var"):
        # What systemd does at a first boot after an update was done by the packages.
        (root / name / ".updated").touch()
    (root / "home").rmdir()
    furnish.make_homes(root / "home", PLAN)
    own = "".join(f"ExecStart=ip address add {one.address}/32 dev lo\n" for one in PLAN.hosts)
    unit = root / "etc/systemd/system/vm-network.service"
    unit.write_text(_NETWORK.format(addresses=own, guest=_GUEST, device=DEVICE))
    (unit.parent / "multi-user.target.wants" / unit.name).symlink_to(f"../{unit.name}")


def _install(root: Path, layer: Path, image: Image) -> None:
    (root / "opt").rmdir()
    cache.run(["cp", "-a", "--reflink=auto", layer, root / "opt"])
    share = root / "srv/lab"
    share.mkdir()
    wheel = software.build_wheel(layer / "wheels", share)
    shutil.copy(image.archive, share / "image.oci.tar")
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-cache-dir")
    install = ("image", "install", "/srv/lab/image.oci.tar")
    programs = software.WHERE / "bin"
    digest = str(image.about["digest"])
    run(root, [f"{programs}/python", *pip, "--force-reinstall", f"/srv/lab/{wheel.name}"])
    run(root, [f"{programs}/chamberlain-endpoint", *install, "--digest", digest])
    (share / "image.oci.tar").unlink()


def run(root: Path, words: Sequence[str], *, given: str = "") -> str:
    """Run `words` in the root of a machine that has not booted; return what they print.

    Raises:
        BuildFailedError: they failed.
    """
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "--", *_INTO, str(root), *words],
        input=given,
        capture_output=True,
        env={"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8"},
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shown = f"{' '.join(words[:8])} ... ended with {done.returncode}"
        raise cache.BuildFailedError(f"{shown}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
