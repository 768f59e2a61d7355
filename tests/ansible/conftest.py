"""One bare lab for the group: hosts without Chamberlain, on which the playbooks are played."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.image import build, engines
from devtools.lab import cgroups, plays, state
from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.lab.plays import Play
from devtools.say import Reporter


@dataclass(frozen=True, slots=True)
class Bare:
    """Hosts, and what an administrator would give to the roles.

    Attributes:
        given: variables of a whole site with containers.
    """

    lab: Lab
    given: Mapping[str, object]

    def play(self, playbook: str, *words: str, **more: object) -> Play:
        """Play with `given`, and `more` on top."""
        return plays.play(self.lab, playbook, {**self.given, **more}, *words)


@pytest.fixture(scope="session")
def bare() -> Iterator[Bare]:
    """Hub, login node and one compute node, of this test session's own."""
    report = Reporter()
    lab = Lab(f"ansible-{os.getpid()}")
    try:
        lab.up(Plan(bare=True), report, bare=True)
        image = build.build(report, lab)
        # Other checkouts' builds may push it out of the cache while we need it.
        archive = engines.save(image, state.folder(lab.name) / "image")[0]
        yield Bare(lab, site(plays.wheels(lab, report), archive, image.about["digest"]))
    finally:
        lab.down()
        assert not state.folder(lab.name).exists()
        assert cgroups.left(lab.name) == []


def site(wheels: Path, archive: Path, digest: str) -> dict[str, object]:
    """Return the variables of a site with containers."""
    return {
        "software_wheels": str(wheels),
        "endpoint_runtime": "container",
        "endpoint_image_archive": str(archive),
        "endpoint_image_digest": digest,
        "endpoint_limits": {"memory_mib": 1024},  # the lab's machine has little
    }


# What the hosts' own programs write while they run, and what the administrator's SSH leaves.
_ALIVE = (
    "/var/lib/munge",
    "/var/log",
    "/var/cache",
    "/var/tmp",
    "/var/lib/systemd",
    "/var/lib/slurm",
    "/var/lib/postgresql",
    "/var/lib/prometheus",
    "/root/.ansible",
)
_LIST = """\
find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp {more} \\) -prune \
    -o -printf '%p %y %m %u:%g %l\\n'
find /etc /usr/local -type f -exec sha256sum {{}} +
"""


def files(lab: Lab, host: str) -> set[str]:
    """Return a line for each file of `host`: path, mode, owner, and its content's hash."""
    more = " ".join(f"-o -path {path}" for path in _ALIVE)
    script = _LIST.format(more=more)
    return set(lab.run(host, ["sh", "-c", script], limit_s=180.0).stdout.splitlines())
