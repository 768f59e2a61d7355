"""Our playbooks over SSH on the hosts of a bare lab, as an administrator would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devtools.lab import cache, inside, software, state
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.package import environments
from devtools.paths import ROOT, VENV
from devtools.say import Reporter
from devtools.site import identity_mapping

COLLECTION: Final = ROOT / "ansible"
DOMAIN: Final = "example.edu"
OWNER: Final = f"hpc@{DOMAIN}"
LIMIT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Play:
    """How a run of a playbook ended.

    Attributes:
        changed: host -> how many tasks changed something.
        said: all that was written.
    """

    code: int
    changed: Mapping[str, int]
    said: str
    took_s: float


def wheels(lab: Lab, report: Reporter, debian: str = "13") -> Path:
    """Return a folder with the checkout's wheel and all that it depends on, for the hosts.

    Args:
        debian: the hosts' release.

    Raises:
        BuildFailedError: pip could not fetch or build them.
    """
    kept = software.wheels(cache.base(report), report)
    fetched = kept / "run" if debian == "13" else environments.wheels(debian, report)
    folder = state.folder(lab.name) / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(fetched, folder)
    software.build_wheel(kept / "build", folder)
    return folder


def inventory(
    lab: Lab,
    variables: Mapping[str, object],
    without: Sequence[str] = (),
    also: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return the inventory of a lab: hub and broker on `hub`, an endpoint, compute nodes.

    Args:
        variables: of all hosts; they win over ours.
        without: groups that it does not have.
        also: group -> hosts, of groups that it has not by itself or that are to be others.
    """
    keys = state.folder(lab.name) / "keys"
    words = (
        *("-F", "none", "-o", "IdentitiesOnly=yes", "-o", "ControlMaster=auto"),
        *("-o", f"UserKnownHostsFile={keys / 'known_hosts'}", "-o", "ControlPersist=30s"),
    )
    ours = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(keys / "id"),
        "ansible_ssh_common_args": " ".join(words),
        "hub_url": f"http://{HUB}:5000",
        "hub_listen_host": "0.0.0.0",  # noqa: S104 - of a host on the lab's own network
        "hub_broker_host": HUB,
        "broker_disk_free_limit": "50MB",
        "endpoint_owner": OWNER,
        "endpoint_contact_email": OWNER,
        "endpoint_mapping": [
            identity_mapping({f"{name}@{DOMAIN}": name for name in lab.facts.accounts})
        ],
    }
    nodes = [name for name in lab.facts.hosts if name not in (HUB, LOGIN)]
    # On a lab of one host it is everything at once.
    login = LOGIN if LOGIN in lab.facts.hosts else HUB
    groups = {
        "chamberlain_broker": [HUB],
        "chamberlain_hub": [HUB],
        "chamberlain_endpoints": [login],
        "chamberlain_workers": nodes or [login],
        **(also or {}),
    }
    hosts = {name: {"ansible_host": one.address} for name, one in lab.facts.hosts.items()}
    children: dict[str, object] = {
        group: {"hosts": {name: {} for name in names}}
        for group, names in groups.items()
        if group not in without
    }
    return {"all": {"hosts": hosts, "vars": {**ours, **variables}, "children": children}}


def play(
    lab: Lab,
    playbook: str,
    variables: Mapping[str, object],
    *words: str,
    without: Sequence[str] = (),
    also: Mapping[str, Sequence[str]] | None = None,
    limit_s: float = LIMIT_S,
) -> Play:
    """Run a playbook of the collection on a lab, from the lab's network.

    Args:
        words: further arguments of ansible-playbook, such as `--check`.
        without: groups that the inventory does not have.
        also: group -> hosts, on top of the inventory's.

    Raises:
        subprocess.TimeoutExpired: it took longer than `limit_s`.
    """
    folder = state.folder(lab.name) / "ansible"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "inventory.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(inventory(lab, variables, without, also)))
    command = [str(VENV / "bin/ansible-playbook"), "-i", str(file), playbook, *words]
    started = time.monotonic()
    done = subprocess.run(
        inside.outside(lab.facts, command),
        cwd=COLLECTION,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    took_s = time.monotonic() - started
    return Play(done.returncode, _changed(done.stdout), done.stdout, took_s)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for Ansible's programs, which keep their own files in `folder`."""
    path = f"{VENV / 'bin'}:{os.environ['PATH']}"
    own = {"ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home")}
    plain = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "LANG": "C.UTF-8"}
    return {"PATH": path, "HOME": str(folder), **own, **plain}


def _changed(said: str) -> dict[str, int]:
    """Read the recap: `hub : ok=31 changed=0 unreachable=0 ...`."""
    _, _, recap = said.rpartition("PLAY RECAP")
    found = {}
    for line in recap.splitlines()[1:]:
        host, colon, counts = line.partition(" : ")
        if colon:
            numbers = dict(one.split("=") for one in counts.split())
            found[host.strip()] = int(numbers["changed"])
    return found


def main(name: str, playbook: str, words: Sequence[str]) -> int:
    """Run a playbook on the lab `name` for somebody who looks on; return its exit code."""
    lab = Lab(name)
    folder = wheels(lab, Reporter())
    done = play(lab, playbook, {"software_wheels": str(folder)}, *words)
    print(done.said, f"\n{done.took_s:.1f} s")  # noqa: T201
    return done.code


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
