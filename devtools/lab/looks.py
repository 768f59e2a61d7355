"""`./dev lab status`: hosts, scheduler and user endpoints, seen from the machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from devtools.lab import cgroups, inside, rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB
from devtools.lab.state import Facts
from devtools.say import print_wide

_ASK_S = 15.0


@dataclass(frozen=True, slots=True)
class HostLook:
    """One host.

    Attributes:
        state: systemd's word for it, such as `running`; `off` when it does not run.
        failed: units that failed.
    """

    name: str
    address: str
    pid: int | None
    state: str
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """One process of an account of the lab, as the machine's kernel sees it.

    Attributes:
        pid: on the machine.
        spaces: namespace -> its number, for those of `user`, `pid`, `mnt`, `net`.
        uid_map: lines of its user namespace: inside, outside, how many.
    """

    host: str
    pid: int
    account: str
    spaces: dict[str, str]
    uid_map: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True)
class Look:
    """One lab."""

    hosts: tuple[HostLook, ...]
    scheduler: str
    endpoint: str
    processes: tuple[ProcessLook, ...]

    @property
    def faults(self) -> int:
        """How many hosts are not as they should be."""
        return sum(host.state != "running" for host in self.hosts)


def look(lab: Lab) -> Look:
    """Return how the lab `lab` is.

    Raises:
        LabError: it is not up.
    """
    facts = lab.facts
    site = rollout.read(lab)
    return Look(
        hosts=tuple(_host(lab, name) for name in facts.hosts),
        scheduler=_said(lab, HUB, "timeout", "10", "sinfo"),
        endpoint=rollout.status(lab, site) if site else "",
        processes=tuple(sorted(processes(facts), key=lambda one: (one.host, one.pid))),
    )


def processes(facts: Facts) -> Iterator[ProcessLook]:
    """Yield the processes of the lab's accounts on all its hosts."""
    names = {uid: name for name, uid in facts.accounts.items()}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it may end while we look
            uid = folder.stat().st_uid
            host = _host_of(folder, facts.name)
            if uid in names and host:
                yield _process(folder, host, names[uid])


def as_json(seen: Look) -> str:
    """Return the look as one JSON object."""
    return json.dumps(asdict(seen), indent=2)


def show(seen: Look) -> None:
    """Print the look on standard output."""
    hosts = _table("host", "address", "pid", "state", "failed units")
    for host in seen.hosts:
        pid = str(host.pid or "-")
        hosts.add_row(host.name, host.address, pid, host.state, " ".join(host.failed) or "-")
    print_wide(hosts)
    print(f"\n{seen.scheduler.strip()}\n")  # noqa: T201 - a command's answer
    print(f"Endpoint: {seen.endpoint or 'none was rolled out'}\n")  # noqa: T201
    table = _table("host", "pid", "account", "user ns", "pid ns", "uid_map", "command")
    for one in seen.processes:
        spaces = (one.spaces.get("user", "?"), one.spaces.get("pid", "?"))
        row = (one.host, str(one.pid), one.account, *spaces, "\n".join(one.uid_map), one.command)
        table.add_row(*row)
    print_wide(table)


def _table(*columns: str) -> Table:
    table = Table(expand=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _host(lab: Lab, name: str) -> HostLook:
    host = lab.host(name)
    pid = host.leader
    if pid is None:
        return HostLook(name, host.address, None, "off", ())
    failed = _said(lab, name, "systemctl", "--failed", "--plain", "--no-legend")
    units = tuple(line.split()[0] for line in failed.splitlines() if line.strip())
    state = _said(lab, name, "systemctl", "is-system-running").strip()
    return HostLook(name, host.address, pid, state or "?", units)


def _said(lab: Lab, host: str, *words: str) -> str:
    try:
        return lab.run(host, words, limit_s=_ASK_S, check=False).stdout
    except (inside.InsideError, inside.HostDownError) as error:
        return str(error)


def _host_of(folder: Path, lab: str) -> str | None:
    mark = f"/{cgroups.PREFIX}{lab}/"
    for line in (folder / "cgroup").read_text().splitlines():
        if mark in line:
            return line.partition(mark)[2].partition("/")[0]
    return None


def _process(folder: Path, host: str, account: str) -> ProcessLook:
    def number(name: str) -> str:
        return str((folder / "ns" / name).readlink()).partition("[")[2].rstrip("]")

    spaces = {name: number(name) for name in ("user", "pid", "mnt", "net")}
    maps = (folder / "uid_map").read_text().splitlines()
    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    lines = tuple(" ".join(line.split()) for line in maps)
    return ProcessLook(host, int(folder.name), account, spaces, lines, words.strip()[:120])
