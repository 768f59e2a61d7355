"""What a lab consists of: its hosts, their addresses and work, and the accounts on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BRIDGE_ADDRESS: Final = "10.77.0.1"
"""The lab's own end of the private network: a laptop outside all hosts."""

HUB, LOGIN = "hub", "login"
PEOPLE: Final = ("alice", "bob")
FIRST_UID: Final = 1001


@dataclass(frozen=True, slots=True)
class Host:
    """One booted host.

    Attributes:
        units: which of the base's units it runs.
    """

    name: str
    address: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One lab.

    Attributes:
        nodes: how many compute nodes, at least 1.
        more_accounts: how many accounts beside those of `PEOPLE`: user01, user02, ...
        only: names of the hosts that are booted; empty: all.
        bare: hosts for roles that install everything: no broker is set up, and no engine's
            socket is on.
        systemd: whether systemd is the hosts' first process. Else an SSH server is all that runs.
    """

    nodes: int = 1
    more_accounts: int = 0
    only: tuple[str, ...] = ()
    bare: bool = False
    systemd: bool = True

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts: the hub, with broker and scheduler, the login node, the compute nodes."""
        nodes = [
            Host(name, f"10.77.0.{20 + number}", ("munge.service", "slurmd.service"))
            for number, name in enumerate(self.node_names, 1)
        ]
        broker = () if self.bare else ("epmd.socket", "rabbitmq-server.service")
        engine = () if self.bare else ("podman.socket",)
        every = (
            Host(HUB, "10.77.0.10", ("munge.service", "slurmctld.service", *broker)),
            Host(LOGIN, "10.77.0.11", ("munge.service", *engine)),
            *nodes,
        )
        return tuple(host for host in every if not self.only or host.name in self.only)

    @property
    def node_names(self) -> tuple[str, ...]:
        """Names of the compute nodes."""
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))

    @property
    def accounts(self) -> dict[str, int]:
        """Account -> uid, which is its group's gid too; the same on every host."""
        more = [f"user{number:02}" for number in range(1, self.more_accounts + 1)]
        return {name: FIRST_UID + at for at, name in enumerate((*PEOPLE, *more))}
