"""What exactly the engine is asked for, for one user endpoint. Pure.

A request decides nothing here but the name of an image from the site's list: mounts, limits,
network and ids come from the launcher's settings and from the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher import choice
from chamberlain_endpoint.launcher.runtime import idmap
from chamberlain_endpoint.launcher.runtime.faults import NoSuchLimitError
from chamberlain_endpoint.launcher.settings import EngineKind, Limits, Mount, RuntimeSettings
from chamberlain_endpoint.launcher.spec import LEASE_FILE, LaunchSpec

LABEL: Final = "org.chamberlain."
"""What the names of our labels begin with."""

_MOST_GROUPS: Final = 64
"""The kernel's maps have 340 rows; each group takes two."""
_FIRST_PEOPLES_GID: Final = 1000
_LOG_BYTES: Final = 64 * 1024
_TMP_MIB: Final = 512
_CPU_PERIOD_US: Final = 100_000
_MIB: Final = 1024 * 1024
NO_LIMIT: Final = -1
"""As limits of the kernel are written where there is none."""
_LIBPOD_NO_LIMIT: Final = 2**64 - 1
_NOT_IN_DOCKER: Final = "as"


@dataclass(frozen=True, slots=True)
class Place:
    """What of the host one container needs.

    Attributes:
        endpoint: id of the site's endpoint.
        generation: a word that only this start has.
        root: the unpacked image; empty when the engine keeps the image itself.
        digest: of the image.
        base: first of the account's subordinate ids.
        names: folder with the files `passwd` and `group` for this account.
        lease: the file whose time tells the container that the launcher lives.
        most_open_files: hard limit of the launcher itself.
        most_processes: likewise; -1 is none.
        session_limits: soft and hard limit by name, as the account's session sets them; -1: none.
    """

    endpoint: str
    generation: str
    root: str
    digest: str
    base: int
    names: Path
    lease: Path
    most_open_files: int
    most_processes: int
    session_limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ids:
    """By which ids a container is judged once it runs.

    Attributes:
        uids: the map of user ids that was asked for; None: the engine chooses.
        own_uids: the ids that must stand for themselves.
    """

    uids: tuple[idmap.Extent, ...] | None
    gids: tuple[idmap.Extent, ...] | None
    own_uids: tuple[int, ...]
    own_gids: tuple[int, ...]

    @classmethod
    def of(cls, own_uids: tuple[int, ...], own_gids: tuple[int, ...], base: int | None) -> Ids:
        """Return them for an account whose subordinate ids begin at `base`; None: the engine's."""
        if base is None:
            return cls(None, None, own_uids, own_gids)
        uids, gids = idmap.extents(own_uids, base), idmap.extents(own_gids, base)
        return cls(uids, gids, own_uids, own_gids)

    def judged_by(self) -> dict[str, Any]:
        """Return them as the clerk takes them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """One container, as its engine understands it."""

    name: str
    document: dict[str, Any]
    ids: Ids


def make(settings: RuntimeSettings, spec: LaunchSpec, place: Place) -> Plan:
    """Return the container for `spec`.

    Raises:
        NoSuchLimitError: the engine cannot set a limit of the account's session.
    """
    account = spec.account
    gids = tuple(sorted({account.gid, *(group.gid for group in account.groups)} - {0}))
    gids = gids[:_MOST_GROUPS] if account.gid in gids[:_MOST_GROUPS] else (account.gid,)
    is_podman = settings.engine is EngineKind.PODMAN
    if not is_podman:
        # Docker has one map for all, and in it a system's groups are nobody's.
        gids = tuple(gid for gid in gids if gid >= _FIRST_PEOPLES_GID or gid == account.gid)
    name = f"chamberlain-{place.endpoint[:8]}-{spec.user_endpoint[:8]}-{place.generation[:12]}"
    plan = Plan(name, {}, Ids.of((account.uid,), gids, place.base if is_podman else None))
    write = _libpod if is_podman else _docker
    return replace(plan, document=write(settings, spec, place, plan))


def labels_of(spec: LaunchSpec, place: Place) -> dict[str, str]:
    """Return the labels by which a later launcher knows its own."""
    return {
        LABEL + "endpoint": place.endpoint,
        LABEL + "user-endpoint": spec.user_endpoint,
        LABEL + "uid": str(spec.account.uid),
        LABEL + "generation": place.generation,
    }


def _command(settings: RuntimeSettings, spec: LaunchSpec) -> list[str]:
    return [str(settings.python), *spec.arguments[1:]]


def _mounts(settings: RuntimeSettings, spec: LaunchSpec, place: Place) -> list[Mount]:
    own = spec.state_dir.parent
    found = [
        Mount(place.names / "passwd", Path("/etc/passwd")),
        Mount(place.names / "group", Path("/etc/group")),
        Mount(Path("/etc/hosts"), Path("/etc/hosts")),
        Mount(Path("/etc/resolv.conf"), Path("/etc/resolv.conf")),
        Mount(place.lease, Path(LEASE_FILE)),
        Mount(own, own, is_writable=True),
    ]
    if settings.mounts_home:
        home = Path(spec.account.dir)
        found.append(Mount(home, home, is_writable=True))
    found.extend(Mount(path, path) for path in settings.scheduler_paths)
    return [*found, *settings.mounts]


def _environment(settings: RuntimeSettings, spec: LaunchSpec) -> Mapping[str, str]:
    folder = str(settings.python.parent)
    path = spec.environment.get("PATH", "/usr/bin:/bin")
    return {**spec.environment, "PATH": f"{folder}:{path}"}


def _libpod(
    settings: RuntimeSettings, spec: LaunchSpec, place: Place, plan: Plan
) -> dict[str, Any]:
    limits = choice.limits_of(settings, spec.account)
    account = spec.account
    assert plan.ids.uids is not None
    assert plan.ids.gids is not None
    others = [str(gid) for gid in plan.ids.own_gids if gid != account.gid]
    is_plain_network = settings.network in ("host", "none")
    document: dict[str, Any] = {
        "name": plan.name,
        "command": _command(settings, spec),
        "entrypoint": [],
        "env": dict(_environment(settings, spec)),
        "httpproxy": False,
        "work_dir": str(spec.state_dir),
        "user": f"{account.uid}:{account.gid}",
        "groups": others,
        "labels": labels_of(spec, place),
        "init": True,
        "stdin": True,
        "terminal": False,
        "umask": "0077",
        # The engine must never start it again by itself: that is the hub's decision.
        "restart_policy": "no",
        "userns": {"nsmode": "private"},
        "idmappings": {
            "HostUIDMapping": False,
            "HostGIDMapping": False,
            "UIDMap": [_row(each) for each in plan.ids.uids],
            "GIDMap": [_row(each) for each in plan.ids.gids],
        },
        "pidns": {"nsmode": "private"},
        "ipcns": {"nsmode": "private"},
        "utsns": {"nsmode": "host"} if settings.network == "host" else {"nsmode": "private"},
        "cgroupns": {"nsmode": "private"},
        "netns": {"nsmode": settings.network if is_plain_network else "bridge"},
        "read_only_filesystem": True,
        "read_write_tmpfs": False,
        "privileged": False,
        "cap_add": [],
        "cap_drop": ["ALL"],
        "no_new_privileges": True,
        "use_image_hosts": True,
        "use_image_resolve_conf": True,
        "log_configuration": {"driver": "k8s-file", "size": _LOG_BYTES},
        "mounts": [
            _tmpfs("/tmp"),  # noqa: S108
            _tmpfs("/run"),
            _tmpfs("/var/tmp"),  # noqa: S108
            # Podman's own is read-only with the root: locks between processes live there.
            _tmpfs("/dev/shm"),  # noqa: S108
            *(_bind(each) for each in _mounts(settings, spec, place)),
        ],
        "r_limits": [_unsigned(each) for each in _rlimits(limits, place)],
        "resource_limits": _resources(limits),
    }
    if not is_plain_network:
        document["Networks"] = {settings.network: {}}
    if place.root:
        document["rootfs"] = place.root
    else:
        document["image"] = place.digest
    return document


def _docker(
    settings: RuntimeSettings, spec: LaunchSpec, place: Place, plan: Plan
) -> dict[str, Any]:
    limits = choice.limits_of(settings, spec.account)
    account = spec.account
    others = [str(gid) for gid in plan.ids.own_gids if gid != account.gid]
    environment = _environment(settings, spec)
    if _NOT_IN_DOCKER in place.session_limits:
        raise NoSuchLimitError(f"a session of {account.uname} limits {_NOT_IN_DOCKER!r}")
    return {
        "Image": place.digest,
        "Cmd": _command(settings, spec),
        "Entrypoint": [],
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "User": f"{account.uid}:{account.gid}",
        "WorkingDir": str(spec.state_dir),
        "Labels": labels_of(spec, place),
        "OpenStdin": True,
        "StdinOnce": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "HostConfig": {
            "Init": True,
            "NetworkMode": settings.network,
            "IpcMode": "private",
            "ReadonlyRootfs": True,
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "GroupAdd": others,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "local", "Config": {"max-size": f"{_LOG_BYTES}b"}},
            "Tmpfs": dict.fromkeys(("/tmp", "/run", "/var/tmp"), _TMPFS_OPTIONS),  # noqa: S108
            # Not "Binds": for a source that is not there Docker would make a folder, as root.
            "Mounts": [_docker_bind(each) for each in _mounts(settings, spec, place)],
            "Ulimits": [
                {
                    "Name": each["type"],
                    "Soft": each["soft"],
                    "Hard": each["hard"],
                }
                for each in _rlimits(limits, place)
            ],
            "Memory": limits.memory_mib * _MIB,
            "MemorySwap": limits.memory_mib * _MIB,
            "NanoCpus": int(limits.cpus * 1e9),
            "PidsLimit": limits.pids or None,
        },
    }


_TMPFS_OPTIONS: Final = f"rw,nosuid,nodev,size={_TMP_MIB}m,mode=1777"


def _unsigned(limit: dict[str, Any]) -> dict[str, Any]:
    return {key: _LIBPOD_NO_LIMIT if each == NO_LIMIT else each for key, each in limit.items()}


def _row(extent: idmap.Extent) -> dict[str, int]:
    return {"container_id": extent.inside, "host_id": extent.outside, "size": extent.size}


def _tmpfs(target: str) -> dict[str, Any]:
    return {
        "type": "tmpfs",
        "source": "tmpfs",
        "destination": target,
        "options": ["rw", "nosuid", "nodev", f"size={_TMP_MIB}m", "mode=1777"],
    }


def _bind(mount: Mount) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": str(mount.source),
        "destination": str(mount.target),
        # Below a home may be another file system (an automounted project): rbind shows it.
        "options": ["rbind", "rw" if mount.is_writable else "ro", "nosuid", "nodev", "rslave"],
    }


def _docker_bind(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(mount.source),
        "Target": str(mount.target),
        "ReadOnly": not mount.is_writable,
        "BindOptions": {"Propagation": "rslave"},
    }


def without_mount(document: dict[str, Any], target: str) -> None:
    """Take the mount at `target` out of a document of either engine."""
    holder, mounts, key = document, "mounts", "destination"
    if "HostConfig" in document:
        holder, mounts, key = document["HostConfig"], "Mounts", "Target"
    holder[mounts] = [each for each in holder.get(mounts, []) if each[key] != target]


def sources_of(document: dict[str, Any]) -> list[str]:
    """Return what of the host is mounted by a document of either engine."""
    found = [each["Source"] for each in document.get("HostConfig", {}).get("Mounts", [])]
    for each in document.get("mounts", []):
        if each["type"] == "bind":
            found.append(each["source"])
    return found


def _rlimits(limits: Limits, place: Place) -> list[dict[str, Any]]:
    files = min(limits.open_files, place.most_open_files)
    found = {"nofile": (files, files)}
    if place.most_processes >= 0:
        # Said in full: an engine without CAP_SYS_RESOURCE cannot raise it to its own default.
        found["nproc"] = (place.most_processes, place.most_processes)
    for name, pair in place.session_limits.items():
        # Of two that bound the same, both hold.
        bounds = found.get(name, (NO_LIMIT, NO_LIMIT))
        found[name] = (_lower(pair[0], bounds[0]), _lower(pair[1], bounds[1]))
    # A core file would hold the credentials.
    found["core"] = (0, 0)
    return [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard) in found.items()]


def _lower(one: int, other: int) -> int:
    return max(one, other) if NO_LIMIT in (one, other) else min(one, other)


def _resources(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory_mib:
        size = limits.memory_mib * _MIB
        found["memory"] = {"limit": size, "swap": size}
    if limits.pids:
        found["pids"] = {"limit": limits.pids}
    if limits.cpus:
        quota = int(limits.cpus * _CPU_PERIOD_US)
        found["cpu"] = {"quota": quota, "period": _CPU_PERIOD_US}
    return found
