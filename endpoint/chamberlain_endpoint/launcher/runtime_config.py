"""Reads the table `[runtime]` of `launcher.toml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher.settings import (
    EngineKind,
    Limits,
    Mount,
    RuntimeKind,
    RuntimeSettings,
    SchedulerSource,
)
from chamberlain_endpoint.launcher.toml_table import Table

IDS_PER_ACCOUNT: Final = 65536
"""How many subordinate ids each account gets: as many as a container can name."""

_DOCKER_SOCKET: Final = Path("/run/docker.sock")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_LEAST_MEMORY_MIB: Final = 64
_LEAST_PIDS: Final = 16
_LEAST_LEASE_S: Final = 5.0
_MOST_ID: Final = 2**32 - 2
_SYSTEM_IDS: Final = 65536
_OWN_PLACES: Final = ("/", "/proc", "/sys", "/dev", "/tmp", "/etc")  # noqa: S108


def parse(runtime: Table) -> RuntimeSettings:
    """Return the settings in the table; faults are noted in it."""
    usual, engine = RuntimeSettings(), _engine(runtime)
    socket = usual.socket if engine is EngineKind.PODMAN else _DOCKER_SOCKET
    kind, *more_kinds = _kinds(runtime, "kind", (usual.kind,))
    settings = RuntimeSettings(
        kind=kind,
        more_kinds=tuple(more_kinds),
        group_kinds=_kinds_by_name(runtime, "group_kinds"),
        account_kinds=_kinds_by_name(runtime, "account_kinds"),
        if_unavailable=_if_unavailable(runtime),
        engine=engine,
        socket=runtime.path("socket", str(socket)),
        images=_images(runtime),
        image=runtime.text("image", usual.image),
        group_images=_images_by_name(runtime, "group_images"),
        account_images=_images_by_name(runtime, "account_images"),
        images_dir=runtime.path("images_dir", str(usual.images_dir)),
        python=runtime.path("python", str(usual.python)),
        network=runtime.text("network", usual.network),
        mounts=_mounts(runtime),
        scheduler=_scheduler(runtime),
        scheduler_paths=tuple(map(Path, runtime.texts("scheduler_paths", ()))),
        mounts_home=runtime.truth("mounts_home", default=usual.mounts_home),
        known_accounts=runtime.texts("known_accounts", usual.known_accounts),
        subordinate_first=runtime.whole(
            "subordinate_first", usual.subordinate_first, least=_SYSTEM_IDS
        ),
        subordinate_count=runtime.whole(
            "subordinate_count", usual.subordinate_count, least=IDS_PER_ACCOUNT
        ),
        limits=_limits(runtime.table("limits"), Limits()),
        group_limits=_limits_by_name(runtime, "group_limits"),
        account_limits=_limits_by_name(runtime, "account_limits"),
        lease_s=runtime.number("lease_s", usual.lease_s, least=_LEAST_LEASE_S),
        ends_with_launcher=runtime.truth("ends_with_launcher", default=usual.ends_with_launcher),
    )
    _check_across(runtime, settings)
    runtime.refuse_unknown()
    return settings


def _kinds(
    table: Table, name: str, usual: tuple[RuntimeKind, ...] = (RuntimeKind.PROCESS,)
) -> tuple[RuntimeKind, ...]:
    """Return one kind, or a list of them whose first is the usual one."""
    words = table.one_or_more(name) if table.has(name) else usual
    if set(words) <= set(RuntimeKind):
        return tuple(RuntimeKind(word) for word in words)
    table.fault(name, 'must be "process" or "container", or a list of both, the usual one first')
    return usual


def _kinds_by_name(runtime: Table, name: str) -> tuple[tuple[str, tuple[RuntimeKind, ...]], ...]:
    table = runtime.table(name)
    return tuple((who, _kinds(table, who)) for who in table.names())


def _images_by_name(runtime: Table, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    table, known = runtime.table(name), runtime.table("images").names()
    found = tuple((who, table.one_or_more(who)) for who in table.names())
    for who, images in found:
        for image in images:
            if image and image not in known:
                table.fault(who, f"names {image!r}, which is not in runtime.images")
    return found


def _if_unavailable(runtime: Table) -> RuntimeKind | None:
    text = runtime.text("if_unavailable", "refuse")
    if text == RuntimeKind.PROCESS:
        return RuntimeKind.PROCESS
    if text != "refuse":
        runtime.fault("if_unavailable", 'must be "refuse" or "process"')
    return None


def _engine(runtime: Table) -> EngineKind:
    text = runtime.text("engine", EngineKind.PODMAN)
    if text not in set(EngineKind):
        runtime.fault("engine", 'must be "podman" or "docker"')
        return EngineKind.PODMAN
    return EngineKind(text)


def _scheduler(runtime: Table) -> SchedulerSource:
    text = runtime.text("scheduler", SchedulerSource.IMAGE)
    if text not in set(SchedulerSource):
        runtime.fault("scheduler", 'must be "image" or "host"')
        return SchedulerSource.IMAGE
    return SchedulerSource(text)


def _images(runtime: Table) -> tuple[tuple[str, str], ...]:
    table = runtime.table("images")
    found = []
    for name in table.names():
        digest = table.text(name, "")
        if not _NAME.fullmatch(name):
            table.fault(name, "is no name for an image: letters, digits, dot, dash, underscore")
        if not _DIGEST.fullmatch(digest):
            table.fault(name, "must be a digest: sha256: and 64 hexadecimal digits")
        found.append((name, digest))
    return tuple(found)


def _mounts(runtime: Table) -> tuple[Mount, ...]:
    found = []
    for text in runtime.texts("mounts", ()):
        source, _, rest = text.partition(":")
        target, _, mode = rest.rpartition(":") if ":" in rest else ("", "", rest)
        if mode not in ("", "ro", "rw"):
            target, mode = rest, "ro"
        mount = Mount(Path(source), Path(target or source), is_writable=mode == "rw")
        _check_mount(runtime, "mounts", text, mount)
        found.append(mount)
    return tuple(found)


def _check_mount(runtime: Table, name: str, text: str, mount: Mount) -> None:
    for path in {mount.source, mount.target}:
        if not path.is_absolute() or ".." in path.parts:
            runtime.fault(name, f"{text!r}: {path} must be an absolute path")
    if str(mount.target) in _OWN_PLACES:
        runtime.fault(name, f"{text!r}: {mount.target} belongs to the container itself")


def _limits(table: Table, usual: Limits) -> Limits:
    limits = Limits(
        memory_mib=table.whole("memory_mib", usual.memory_mib, least=0),
        cpus=table.number("cpus", usual.cpus, least=0.0),
        pids=table.whole("pids", usual.pids, least=0),
        open_files=table.whole("open_files", usual.open_files, least=64),
    )
    if 0 < limits.memory_mib < _LEAST_MEMORY_MIB:
        table.fault("memory_mib", f"must be 0 (no limit) or at least {_LEAST_MEMORY_MIB}")
    if 0 < limits.pids < _LEAST_PIDS:
        table.fault("pids", f"must be 0 (no limit) or at least {_LEAST_PIDS}")
    table.refuse_unknown()
    return limits


def _limits_by_name(runtime: Table, name: str) -> tuple[tuple[str, Limits], ...]:
    usual = Limits()
    return tuple((key, _limits(table, usual)) for key, table in runtime.tables(name).items())


def _check_across(runtime: Table, settings: RuntimeSettings) -> None:
    last = settings.subordinate_first + settings.subordinate_count - 1
    if last > _MOST_ID:
        runtime.fault("subordinate_count", f"reaches id {last}; the kernel's last is {_MOST_ID}")
    for path in settings.scheduler_paths:
        _check_mount(runtime, "scheduler_paths", str(path), Mount(path, path))
    if (settings.scheduler is SchedulerSource.HOST) != bool(settings.scheduler_paths):
        what = 'must name what is mounted for scheduler = "host", and nothing for "image"'
        runtime.fault("scheduler_paths", what)
    if RuntimeKind.CONTAINER not in settings.kinds:
        return
    if settings.engine is EngineKind.DOCKER and settings.network == "host":
        why = "Docker shares the host's network with no remapped container; name one of its own"
        runtime.fault("network", f"{why} networks")
    if not settings.images:
        runtime.fault("images", "must name at least one image and its digest")
    elif settings.digest_of("") is None:
        names = ", ".join(name for name, _ in settings.images)
        runtime.fault("image", f"must be one of the names in images: {names}")
