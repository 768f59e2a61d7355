"""Choices of the site for its containers: a named network, and the host's scheduler commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, Site
from devtools.lab.software import WHERE
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
PROGRAM = str(WHERE / "bin/chamberlain-endpoint")
BATCH = Path(__file__).with_name("batch.py")
LOG = f"/var/log/chamberlain/{ENDPOINT}/launcher.log"
NETWORK = "of-people"
IMAGES = "/var/lib/chamberlain/images"
BARE = "sha256:" + "5" * 64
"""Stands for an image of a site that has no scheduler in its images."""
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
COMMANDS = ("sbatch", "squeue", "scancel", "srun", "sinfo", "munge")
ALL = (
    *(f"/usr/bin/{name}" for name in COMMANDS),
    *(f"{LIBRARIES}/{name}" for name in ("slurm-wlm", "libmunge.so.2", "liblz4.so.1")),
)
LOOK = """\
def hello():
    import os, pathlib, socket

    rows = pathlib.Path("/proc/net/route").read_text().splitlines()[1:]
    return {
        "uid": os.getuid(),
        "hostname": socket.gethostname(),
        "devices": sorted({row.split()[0] for row in rows}),
    }
"""


@pytest.fixture(scope="module")
def digest(lab: Lab, site: Site) -> Iterator[str]:
    """The image of the checkout, installed on the login node; and one without a scheduler."""
    found = engines.install(builds.build(Reporter(), lab), lab)
    (lab.share / "network.py").write_text(LOOK)
    shutil.copyfile(BATCH, lab.share / "batch.py")
    source, target = (f"{IMAGES}/{one.replace(':', '-')}" for one in (found, BARE))
    gone = [f"{target}/root{path}" for path in ALL]
    lab.run(LOGIN, ["cp", "-a", source, target])
    lab.run(LOGIN, ["rm", "-rf", *gone, f"{target}/root{LIBRARIES}/libmunge.so.2.0.1"])
    yield found
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    lab.run(LOGIN, ["rm", "-rf", target])


def use(lab: Lab, site: Site, digest: str, more: str) -> None:
    rollout.use_containers(lab, site, digest, Reporter(), engine=more)


def call(lab: Lab, site: Site, example: str) -> dict[str, object]:
    return rollout.call(lab, site, rollout.person("alice"), {}, example=example)


def doctor(lab: Lab) -> dict[str, dict[str, str]]:
    """Return what the doctor finds: name of a link -> the link."""
    words = [PROGRAM, "doctor", ENDPOINT, "--as", "alice", "--json"]
    links = json.loads(lab.run(LOGIN, words, check=False).stdout)["links"]
    return {one["link"]: one for one in links}


@pytest.fixture
def network(lab: Lab) -> Iterator[str]:
    # netavark's own choice is nftables, which tests/lab/test_compose.py has; some sites have this.
    firewall = "/etc/containers/containers.conf.d/network.conf"
    rollout.put(lab, LOGIN, firewall, '[network]\nfirewall_driver = "iptables"\n', mode="0644")
    lab.run(LOGIN, ["systemctl", "stop", "podman.service"])
    # As everything that sets up networks: /proc/sys of a host in nspawn is read-only.
    lab.run(LOGIN, ["mount", "-o", "remount,bind,rw", "/proc/sys"])
    lab.run(LOGIN, ["podman", "network", "create", "--disable-dns", NETWORK])
    yield NETWORK
    # Whoever is still in it would keep it.
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    lab.run(LOGIN, ["podman", "network", "rm", "--force", NETWORK])
    lab.run(LOGIN, ["rm", firewall])


def test_a_container_in_a_named_network_reaches_hub_and_broker(
    lab: Lab, site: Site, digest: str, network: str
) -> None:
    use(lab, site, digest, f'network = "{network}"')
    answer = call(lab, site, "network.py")
    assert answer["error"] is None, answer
    said = answer["result"]
    assert isinstance(said, dict)
    assert said["uid"] == 1001
    # Its own end of a bridge; not the host's device, and not the host's name.
    assert said["devices"] == ["eth0"]
    assert said["hostname"] != LOGIN
    bad = [one for one in doctor(lab).values() if one["state"] == "bad"]
    assert bad == []


def test_a_network_that_is_not_there_is_told_to_both(lab: Lab, site: Site, digest: str) -> None:
    use(lab, site, digest, 'network = "of-nobody"')
    said = str(call(lab, site, "network.py")["error"])
    assert "The network of the site's containers is missing; tell its administrator." in said
    assert "of-nobody" not in said, "names of the site are not the user's business"
    seen = doctor(lab)["container"]
    assert seen["state"] == "bad"
    assert "of-nobody" in seen["said"]
    assert "podman network create" in seen["todo"]
    told = lab.run(LOGIN, ["cat", LOG]).stdout
    assert any("of-nobody" in line and "no_network" in line for line in told.splitlines())


def of_host(*paths: str) -> str:
    return f'scheduler = "host"\nscheduler_paths = {json.dumps(paths)}'


def test_the_hosts_commands_submit_a_job_as_the_account_from_inside(
    lab: Lab, site: Site, digest: str
) -> None:
    use(lab, site, BARE, of_host(*ALL))
    found = doctor(lab)
    assert [one for one in found.values() if one["state"] == "bad"] == []
    assert {"munge", "sinfo", "squeue"} <= set(found)
    answer = call(lab, site, "batch.py")
    assert answer["error"] is None, answer
    said = answer["result"]
    assert isinstance(said, dict)
    assert said["owner"] == "alice", said
    shown = ["scontrol", "--oneliner", "show", "job", str(said["job"])]
    assert wait_until(lambda: "JobState=CANCELLED" in lab.run(HUB, shown).stdout, 120.0), said


@pytest.mark.parametrize(
    ("missing", "link", "todo"),
    [
        (f"{LIBRARIES}/libmunge.so.2", "munge", "libmunge.so.2 is not in the container"),
        (f"{LIBRARIES}/slurm-wlm", "sinfo", "libslurmfull.so is not in the container"),
    ],
)
def test_doctor_names_what_the_hosts_commands_miss(
    lab: Lab, site: Site, digest: str, missing: str, link: str, todo: str
) -> None:
    settings(lab, site, of_host(*(path for path in ALL if path != missing)))
    found = doctor(lab)[link]
    assert found["state"] == "bad"
    assert todo in found["todo"]
    assert "runtime.scheduler_paths" in found["todo"]


def test_doctor_says_when_none_of_the_commands_is_there(lab: Lab, site: Site, digest: str) -> None:
    settings(lab, site, of_host(f"{LIBRARIES}/libmunge.so.2"))
    found = doctor(lab)["scheduler"]
    assert (found["state"], "runtime.scheduler_paths" in found["todo"]) == ("bad", True)


def settings(lab: Lab, site: Site, more: str) -> None:
    """Change the settings for the doctor alone: no launcher takes them."""
    rollout.write_runtime(lab, BARE, engine=more)
