"""User endpoints in containers whose tasks run in jobs of Slurm, and workers in the same image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, Site
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
FOLDER = f"/etc/chamberlain/{ENDPOINT}"
SETTINGS = f"{FOLDER}/launcher.toml"
GONE_S = 120.0
ALICE = 1001
NODE, BARE_NODE = "node1", "node2"
TEMPLATE = """\
idle_heartbeats_soft: 1
heartbeat_period: 5
engine:
  type: GlobusComputeEngine
  max_workers_per_node: 1
{% if INSIDE is defined %}
  container_type: unpacked
{% endif %}
{% if FOLDER is defined %}
  container_uri: {{ FOLDER }}
{% endif %}
  provider:
    type: SlurmProvider
    partition: lab
    exclusive: false
    cores_per_node: 1
    walltime: "00:10:00"
    scheduler_options: "#SBATCH --nodelist={% if NODE == 'node2' %}node2{% else %}node1{% endif %}"
    worker_init: export PATH=/opt/chamberlain/bin:$PATH
    init_blocks: 0
    min_blocks: 0
    max_blocks: 1
    launcher: {type: SrunLauncher}
"""
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("INSIDE", "FOLDER", "NODE")},
}
WHERE_IT_RUNS = """\
def hello():
    import os, pathlib, platform, pwd, subprocess

    def said(*words):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return (done.stdout + done.stderr).strip()

    def writes(folder):
        try:
            pathlib.Path(folder, ".chamberlain-written").touch()
        except OSError:
            return False
        return True

    status = pathlib.Path("/proc/self/status").read_text()
    return {
        "node": platform.node(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "uid": os.getuid(),
        "name": pwd.getpwuid(os.getuid()).pw_name,
        "has_pip": pathlib.Path("/opt/chamberlain/bin/pip").exists(),
        "marked": pathlib.Path("/etc/chamberlain-lab-host").exists(),
        "host_is_there": pathlib.Path("/.host").exists(),
        "capabilities": [line.split()[1] for line in status.splitlines() if "CapEff" in line],
        "writes": {one: writes(one) for one in ("/opt", "/usr", str(pathlib.Path.home()))},
        "squeue": said("squeue", "--me", "--noheader", "--format=%i"),
    }
"""


@pytest.fixture(scope="module")
def image_root(lab: Lab, site: Site) -> Iterator[str]:
    """User endpoints in containers, with jobs, and the image on one node; yield its folder there.

    Afterwards user endpoints are processes again, as others expect.
    """
    files = {
        f"{FOLDER}/user_config_template.yaml.j2": TEMPLATE,
        f"{FOLDER}/user_config_schema.json": json.dumps(SCHEMA),
    }
    before = {path: lab.run(LOGIN, ["cat", path]).stdout for path in (SETTINGS, *files)}
    (lab.share / "where.py").write_text(WHERE_IT_RUNS)
    for path, text in files.items():
        rollout.put(lab, LOGIN, path, text, mode="0644")
    image = builds.build(Reporter(), lab)
    digest = engines.install(image, lab)
    engines.install(image, lab, host=NODE)
    lab.run(NODE, ["touch", "/etc/chamberlain-lab-host"])
    rollout.use_containers(lab, site, digest, Reporter())
    yield f"/var/lib/chamberlain/images/{digest.replace(':', '-')}/root"
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    for path, text in before.items():
        rollout.put(lab, LOGIN, path, text, mode="0644")
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    rollout.wait_online(lab, site)


def ask(lab: Lab, site: Site, **options: str) -> dict[str, Any]:
    options = {"NODE": NODE, **options}
    return rollout.call(lab, site, rollout.person("alice"), options, example="where.py")


def queue(lab: Lab) -> list[str]:
    return lab.run(HUB, ["squeue", "--noheader", "--all", "--format=%i"]).stdout.split()


def containers(lab: Lab) -> list[str]:
    words = ["podman", "ps", "--quiet", "--filter", "label=org.chamberlain.endpoint"]
    return lab.run(LOGIN, words).stdout.split()


def test_hello_from_a_container_through_a_job_and_an_empty_queue_afterwards(
    lab: Lab, site: Site, image_root: str
) -> None:
    assert queue(lab) == []
    answer = ask(lab, site)
    assert answer["error"] is None, answer
    said = answer["result"]
    assert (said["node"], said["uid"], said["name"]) == (NODE, ALICE, "alice")
    assert said["job"] == said["squeue"]
    # The user endpoint is a container of the login node; its worker is a process of the node.
    assert len(containers(lab)) == 1
    assert (said["has_pip"], said["marked"]) == (True, True)
    # Idle, it goes, and its job with it.
    assert wait_until(lambda: queue(lab) == [] and containers(lab) == [], GONE_S)


@pytest.mark.parametrize("named", [False, True], ids=["its own", "a folder"])
def test_a_worker_runs_in_the_image_of_its_user_endpoint(
    lab: Lab, site: Site, image_root: str, named: bool
) -> None:
    answer = ask(lab, site, INSIDE="yes", **({"FOLDER": image_root} if named else {}))
    assert answer["error"] is None, answer
    said = answer["result"]
    assert (said["node"], said["uid"], said["name"]) == (NODE, ALICE, "alice")
    # The image has no pip, and its /etc is not the node's; the scheduler is, and knows alice.
    assert (said["has_pip"], said["marked"], said["host_is_there"]) == (False, False, False)
    assert said["job"] == said["squeue"]
    assert said["capabilities"] == ["0" * 16]
    assert said["writes"] == {"/opt": False, "/usr": False, "/home/alice": True}
    assert wait_until(lambda: queue(lab) == [], GONE_S)
    # Nothing of it is left on the node: no process, and no mount.
    left = lab.run(NODE, ["pgrep", "-u", "alice", "-l"], check=False).stdout
    mounts = lab.run(NODE, ["cat", "/proc/mounts"]).stdout
    assert (left, image_root in mounts) == ("", False)


@pytest.mark.parametrize(
    ("node", "folder", "words"),
    [
        (BARE_NODE, "", "the node node2 has no image in /var/lib/chamberlain/images/sha256-"),
        (NODE, "/srv/nosuch", "the node node1 has no image in /srv/nosuch."),
    ],
)
def test_a_node_without_the_image_is_named_with_what_is_missing(
    lab: Lab, site: Site, image_root: str, node: str, folder: str, words: str
) -> None:
    answer = ask(lab, site, INSIDE="yes", NODE=node, **({"FOLDER": folder} if folder else {}))
    assert words in str(answer["error"]), answer
    assert "Ask the site's administrators to install it there" in answer["error"]
    assert wait_until(lambda: queue(lab) == [], GONE_S)


def test_a_node_without_user_namespaces_is_named(lab: Lab, site: Site, image_root: str) -> None:
    unshare = Path("/usr/bin/unshare")
    lab.run(NODE, ["mv", str(unshare), "/root/unshare"])
    rollout.put(lab, NODE, str(unshare), "#!/bin/sh\nexit 1\n", mode="0755")
    try:
        # Another folder by name, so that the breaker of an earlier test is not this one's.
        answer = ask(lab, site, INSIDE="yes", FOLDER=f"{image_root}/.")
    finally:
        lab.run(NODE, ["mv", "/root/unshare", str(unshare)])
    assert "the node node1 lets accounts make no user namespaces" in str(answer["error"]), answer
