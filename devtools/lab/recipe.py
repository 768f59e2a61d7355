"""What every lab host is made of: Debian's packages, and the settings that make them a lab.

Debian is installed once by mmdebstrap and kept by the hash of what it is told; the settings are
written into each host's own layer, so that a change of them costs nothing. Why each odd one is
there stands beside it: they were found on a machine without systemd, with control groups of
both kinds, see ADR 0019.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

SUITE: Final = "trixie"

PACKAGES: Final = (
    # the system
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "sudo", "procps"),
    *("iproute2", "iputils-ping", "openssh-server", "ca-certificates", "curl"),
    # containers, and a registry to push to and pull from
    *("podman", "crun", "catatonit", "netavark", "aardvark-dns", "passt", "uidmap"),
    *("docker-registry", "skopeo", "docker.io"),
    # what reads a compose file: Podman's, with the firewall of its networks, and Docker's own
    *("podman-compose", "nftables", "docker-compose"),
    # the cluster
    *("munge", "slurmctld", "slurmd", "slurm-client"),
    # qsub and its like over Slurm, and an MPI whose mpiexec takes the words that Parsl says
    *("slurm-wlm-torque", "mpich"),
    # ours, and Ansible's: python3-apt must be inside, or its apt module tries to fetch it
    *("python3", "python3-venv", "python3-apt", "rabbitmq-server"),
    # what the roles of a site may install: the hosts have no way to an archive
    *("postgresql", "prometheus", "nginx"),
)

_LEFT_OUT: Final = ("doc", "man", "info", "locale", "lintian", "linda", "bug")

_DISABLED: Final = (
    # Each host turns on what it is for.
    *("docker-registry.service", "epmd.service", "epmd.socket", "munge.service"),
    *("rabbitmq-server.service", "slurmctld.service", "slurmd.service"),
    *("postgresql.service", "prometheus.service", "nginx.service"),
    *("netavark-dhcp-proxy.service", "netavark-dhcp-proxy.socket", "podman.socket"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("docker.service", "docker.socket", "containerd.service"),
    *("getty@tty1.service", "systemd-pstore.service", "podman-auto-update.timer"),
)

_MASKED_IN_NSPAWN: Final = (
    # Mounted on a booted host, these make every container with a user namespace fail with
    # "cannot unmount /sys/kernel: device or resource busy".
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount"),
    "sys-fs-fuse-connections.mount",
    # Modules are the machine's business.
    "systemd-modules-load.service",
)
_MASKED: Final = (
    # There is no name server and no other network to wait for.
    *("systemd-networkd.service", "systemd-networkd-wait-online.service"),
    "systemd-networkd.socket",
    # Nobody types at a console. Each of these holds an inotify instance, of which the kernel gives
    # root 128 on the whole machine: a sixth lab did not boot.
    *("console-getty.service", "systemd-ask-password-console.path"),
    "systemd-ask-password-wall.path",
)

_FILES_IN_NSPAWN: Final = MappingProxyType(
    {
        # nspawn gives the host a read-only view of its own control groups; Podman writes there.
        "etc/systemd/system/lab-cgroups.service": """\
[Unit]
Description=Make this host's control groups writable
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for one in /sys/fs/cgroup /sys/fs/cgroup/*; do \
mountpoint -q "$one" && mount -o remount,bind,rw "$one"; done; true'
[Install]
WantedBy=sysinit.target
""",
        # nspawn shows the network devices of the lab, not this host's: MPI would find none.
        "etc/systemd/system/lab-sysfs.service": """\
[Unit]
Description=Show this host's own network devices in /sys
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'mkdir -p /run/lab-sys; mount -t sysfs -o ro sysfs /run/lab-sys; \
for one in devices/virtual/net class/net; do mount --bind /run/lab-sys/$one /sys/$one; done; \
umount /run/lab-sys'
[Install]
WantedBy=sysinit.target
""",
        # crun may not raise limits where CAP_SYS_RESOURCE is missing, and this is below all; nor
        # may it set what Podman sets by default, for /proc/sys of a host in nspawn is read-only.
        "etc/containers/containers.conf": """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
""",
    }
)
_FILES: Final = MappingProxyType(
    {
        # A restart of munge makes a new /run/munge; containers would keep the old, empty one.
        "etc/systemd/system/munge.service.d/lab.conf": """\
[Service]
RuntimeDirectoryPreserve=yes
""",
        "etc/ssh/sshd_config.d/lab.conf": "PasswordAuthentication no\nUseDNS no\n",
        "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
    }
)
_SCRUBBED: Final = (
    *("etc/ssh/ssh_host_*", "etc/munge/munge.key"),
    *("var/lib/apt/lists/**/*", "var/cache/apt/**/*"),
)
_SUBORDINATE: Final = "containers:1000000:6553600\n"


def base_hash(packages: Sequence[str] = PACKAGES, suite: str = SUITE) -> str:
    """Return what names the base: a hash of how it is built, and for which architecture."""
    arguments = mmdebstrap_arguments(Path(), "", packages, suite=suite)
    words = [*arguments, *_SCRUBBED, platform.machine()]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def mmdebstrap_arguments(
    root: Path,
    mirror: str,
    packages: Sequence[str] = PACKAGES,
    variant: str = "apt",
    suite: str = SUITE,
) -> list[str]:
    """Return the command that builds the packages' part of the base in the folder `root`.

    Args:
        mirror: address of an archive; empty: mmdebstrap's own choice.
        variant: what is in it beside `packages`, in mmdebstrap's word.
        suite: Debian's release, by its name.
    """
    return [
        "mmdebstrap",
        f"--variant={variant}",
        "--format=directory",
        f"--include={','.join(packages)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT),
        suite,
        str(root),
        *([mirror] if mirror else []),
    ]


def scrub(root: Path) -> None:
    """Take from a fresh Debian in `root` what no cache should hold: keys, and lists of packages."""
    for pattern in _SCRUBBED:
        for file in root.glob(pattern):
            if file.is_file():
                file.unlink()


def apply(root: Path, *, has_own_kernel: bool = False) -> None:
    """Turn the Debian in `root` into a lab host's.

    Args:
        has_own_kernel: it boots by itself, and needs nothing of what makes up for a shared kernel.
    """
    units = root / "etc/systemd/system"
    shared = {} if has_own_kernel else dict(_FILES_IN_NSPAWN)
    for name, text in {**_FILES, **shared}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name in _DISABLED:
        # By hand: a glob does not find links whose target is in another root.
        for folder in units.glob("*.wants"):
            (folder / name).unlink(missing_ok=True)
    for name in (*_MASKED, *(() if has_own_kernel else _MASKED_IN_NSPAWN)):
        mask = units / name
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    wanted = units / "sysinit.target.wants"
    wanted.mkdir(exist_ok=True)
    for file in map(Path, shared):
        if file.suffix == ".service":
            (wanted / file.name).symlink_to(f"../{file.name}")
    for name in ("subuid", "subgid"):
        with (root / "etc" / name).open("a") as ranges:
            ranges.write(_SUBORDINATE)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").touch()
