"""What is known of a lab that runs: a folder with a lock and a file, and who keeps it.

The keeper and the supervisor hold the lock as long as one of them lives. A folder whose lock
is free is what a killed lab left, and `sweep` takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from devtools.lab import cache, cgroups

_LOCK: Final = "lock"
_FACTS: Final = "lab.json"


@dataclass(frozen=True, slots=True)
class Running:
    """One host of a lab that is up.

    Attributes:
        nspawn: process id of its systemd-nspawn, on the machine.
        cgroups: its folders in each hierarchy.
    """

    name: str
    address: str
    nspawn: int
    cgroups: tuple[str, ...]

    @property
    def leader(self) -> int | None:
        """Process id, on the machine, of the host's first process; None when it is down."""
        children = Path(f"/proc/{self.nspawn}/task/{self.nspawn}/children")
        try:
            return int(children.read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Facts:
    """One lab that is up.

    Attributes:
        supervisor: its process id; its network namespace holds the bridge.
        accounts: account -> uid.
        broker_password: of the hub's own broker user. Secret.
        software: name of the cache's entry below /opt of all hosts; empty: a bare lab.
    """

    name: str
    supervisor: int
    hosts: Mapping[str, Running]
    accounts: Mapping[str, int]
    broker_password: str
    software: str


def folder(name: str) -> Path:
    """Return the folder of the lab `name`."""
    return cache.folder() / "labs" / name


def write(facts: Facts) -> None:
    """Note that the lab is up."""
    file = folder(facts.name) / _FACTS
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(facts)))
    new.rename(file)


def read(name: str) -> Facts | None:
    """Return what is known of the lab `name`; None when it is not up."""
    try:
        known: dict[str, Any] = json.loads((folder(name) / _FACTS).read_text())
    except (OSError, ValueError):
        return None
    if not is_held(name):
        return None
    try:
        hosts = {
            key: Running(one["name"], one["address"], one["nspawn"], tuple(one["cgroups"]))
            for key, one in known.pop("hosts").items()
        }
        return Facts(**known, hosts=hosts)
    except (KeyError, TypeError):
        return None  # a lab of another checkout; `down` ends it all the same


def names() -> list[str]:
    """Return the labs that have a folder."""
    return sorted(one.name for one in (cache.folder() / "labs").glob("*") if one.is_dir())


def hold(name: str) -> int | None:
    """Take the lock of a new lab's folder, which must exist; None when somebody has it."""
    descriptor = os.open(folder(name) / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, _number(descriptor), 0)
    return descriptor


def is_copy(name: str) -> bool:
    """Tell whether a lab's folder is a copy of another one, whose hosts may run."""
    try:
        with (folder(name) / _LOCK).open("rb") as file:
            return file.read() not in (b"", _number(file.fileno()))
    except OSError:
        return False


def _number(descriptor: int) -> bytes:
    return str(os.fstat(descriptor).st_ino).encode()


def is_held(name: str) -> bool:
    """Tell whether the lab `name` has a living keeper or supervisor."""
    try:
        descriptor = os.open(folder(name) / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def clear(name: str) -> None:
    """Remove what a lab has on the machine beside its processes; they must be gone."""
    # Of two labs of one name in two caches, one may live, in control groups of that name.
    if not is_copy(name):
        cgroups.remove(name)
    while folder(name).exists():
        # Another lab's `sweep` may be at it as well, and take files from under our hands.
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder(name))


def sweep() -> list[str]:
    """Remove what killed labs left; return their names."""
    found = []
    with cache.locked():
        for name in names():
            if not is_held(name):
                clear(name)
                found.append(name)
    return found
