"""Other settings for a lab's Slurm, for the tests of one module, and as they were afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from devtools.lab import rollout
from devtools.lab.lab import Lab, LabError
from devtools.lab.plan import HUB
from devtools.processes import wait_until

_FILE: Final = "/etc/slurm/slurm.conf"
_READY_S: Final = 120.0


@contextmanager
def changed(
    lab: Lab, settings: str, *, before: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Have all hosts' Slurm run with `settings` in place of the lab's own.

    Args:
        settings: lines of slurm.conf, each in place of the one with its key.
        before: called when the files are written, and nothing has read them.

    Raises:
        LabError: Slurm did not come back.
    """
    text = lab.run(HUB, ["cat", _FILE]).stdout
    keys = "|".join(re.escape(line.partition("=")[0]) for line in settings.splitlines())
    kept = [line for line in text.splitlines() if not re.match(rf"(?:{keys})=", line)]
    try:
        _write(lab, "\n".join([*kept, settings]))
        before()
        _restart(lab)
        yield
    finally:
        _write(lab, text)
        _restart(lab)


def _write(lab: Lab, text: str) -> None:
    for host in lab.facts.hosts:
        rollout.put(lab, host, _FILE, text, mode="0644")


def _restart(lab: Lab) -> None:
    lab.run(HUB, ["systemctl", "restart", "slurmctld"])
    for host in lab.facts.hosts:
        if host.startswith("node"):
            lab.run(host, ["systemctl", "restart", "slurmd"])

    def is_ready() -> bool:
        done = lab.run(HUB, ["timeout", "10", "sinfo", "-h", "-o", "%T"], check=False)
        return set(done.stdout.split()) == {"idle"}

    if not wait_until(is_ready, _READY_S):
        raise LabError("The lab's Slurm did not come back; see slurmctld.log on the hub.")
