"""The rolled-out site with Docker Engine, set up as docs/guides/containers.md tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.test_containers import inner
from tests.lab.test_site_containers import SCHEDULER

from chamberlain_endpoint.launcher.settings import EngineKind
from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import looks, rollout
from devtools.lab.lab import Lab
from devtools.lab.looks import ProcessLook
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT_UNIT, Site
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
ENGINE = 'engine = "docker"\nnetwork = "bridge"'
FIRST = 900_000_000
# The order of the lines is the order of the ids inside: 0 to 999 are nobody, 1000 to 59999 are
# themselves, the rest is nobody.
RANGES = f"dockremap:{FIRST}:1000\ndockremap:1000:59000\ndockremap:{FIRST + 1000}:5536\n"
MAP = [[0, FIRST, 1000], [1000, 1000, 59000], [60000, FIRST + 1000, 5536]]
DAEMON = {
    "userns-remap": "dockremap",
    # A real folder: the lab's hosts are overlays, and one cannot stand on another.
    "data-root": "/var/lib/containers/docker",
    # Containers are reached by a route, and the lab has no other network to hide them from.
    "iptables": False,
    "ip6tables": False,
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
}
BRIDGE = "172.17.0.0/16"

CONTRACT = [
    ("tests/contract/test_runtime.py", "container"),
    (
        "tests/containers/test_container_life.py",
        "next_launcher or adopted_one or ended_meanwhile or leave_them or clerk_that_dies",
    ),
    ("tests/containers/test_session.py", "spans or next_launcher or refused or does_not_know"),
]

INSIDE = """\
def hello():
    import os

    def writes(path):
        try:
            open(path, "w").close()
        except OSError as error:
            return error.strerror
        return "written"

    return {
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "root_owner": os.stat("/").st_uid,
        "writes": [writes(path) for path in ("/x", "/etc/x", "/tmp/x", os.environ["HOME"] + "/x")],
    }
"""


@pytest.fixture(scope="module", autouse=True)
def docker(lab: Lab, site: Site) -> Iterator[None]:
    """The site, its user endpoints in Docker's containers."""
    image = builds.build(Reporter(), lab)
    # Docker's network settings; /proc/sys of a host in nspawn is read-only.
    lab.run(LOGIN, ["mount", "-o", "remount,bind,rw", "/proc/sys"])
    lab.run(LOGIN, ["useradd", "--system", "--no-create-home", "dockremap"])
    for name in ("subuid", "subgid"):
        ranges = lab.run(LOGIN, ["cat", f"/etc/{name}"]).stdout
        kept = [line for line in ranges.splitlines(True) if not line.startswith("dockremap")]
        rollout.put(lab, LOGIN, f"/etc/{name}", "".join(kept) + RANGES, mode="0644")
    rollout.put(lab, LOGIN, "/etc/docker/daemon.json", json.dumps(DAEMON), mode="0644")
    lab.run(LOGIN, ["systemctl", "start", "docker.service"])
    login = lab.facts.hosts[LOGIN].address
    for host in (HUB, "node1"):
        lab.run(host, ["ip", "route", "add", BRIDGE, "via", login])
    engines.load(image, lab, "docker")
    rollout.use_containers(lab, site, engines.docker_id(image), Reporter(), engine=ENGINE)
    (lab.share / "inside.py").write_text(INSIDE)
    (lab.share / "scheduler.py").write_text(SCHEDULER)
    yield
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    lab.run(LOGIN, ["systemctl", "stop", "docker.service", "docker.socket", "containerd.service"])


def hello(lab: Lab, site: Site, account: str, example: str = "inside.py") -> dict[str, Any]:
    answer = rollout.call(lab, site, rollout.person(account), {}, example=example)
    assert answer["error"] is None, answer
    result: dict[str, Any] = answer["result"]
    return result


def user_endpoint(lab: Lab, account: str) -> ProcessLook:
    (one,) = [
        one
        for one in looks.look(lab).processes
        if one.account == account and one.command.startswith("/opt/chamberlain/bin/python")
    ]
    return one


def containers(lab: Lab) -> list[str]:
    """Return the user ids in the labels of all containers that Docker has."""
    words = ["curl", "-s", "--unix-socket", "/run/docker.sock", "http://d/containers/json?all=1"]
    found = json.loads(lab.run(LOGIN, words).stdout)
    return sorted(one["Labels"]["org.chamberlain.uid"] for one in found)


def test_accounts_are_themselves_and_root_is_nobody_under_dockers_map(lab: Lab, site: Site) -> None:
    for account, uid in (("alice", 1001), ("bob", 1002)):
        said = hello(lab, site, account)
        assert (said["uid"], said["groups"]) == (uid, [uid])
        # Seen from inside, the image is root's; and who that is, the map says.
        assert said["root_owner"] == 0
        read_only = "Read-only file system"
        assert said["writes"] == [read_only, read_only, "written", "written"]
        assert (Path("/proc") / str(user_endpoint(lab, account).pid)).stat().st_uid == uid
        for file in ("uid_map", "gid_map"):
            text = Path(f"/proc/{user_endpoint(lab, account).pid}/{file}").read_text()
            assert [[int(word) for word in line.split()] for line in text.splitlines()] == MAP
    alice, bob = user_endpoint(lab, "alice"), user_endpoint(lab, "bob")
    for name in ("user", "pid", "mnt", "net"):
        assert alice.spaces[name] != bob.spaces[name]
    status = Path(f"/proc/{alice.pid}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in status.splitlines())
    assert {int(lines[name], 16) for name in lines if name.startswith("Cap")} == {0}
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
    assert containers(lab) == ["1001", "1002"]


def test_the_scheduler_knows_the_account_from_inside_dockers_container(
    lab: Lab, site: Site
) -> None:
    said = hello(lab, site, "alice", "scheduler.py")
    opened = lab.run(LOGIN, ["unmunge"], given=str(said["credential"])).stdout
    assert "alice (1001)" in opened
    # What srun says of waiting comes after it.
    assert str(said["ran"]).startswith("1001\nnode1\n")


@pytest.mark.parametrize(("file", "words"), CONTRACT)
def test_the_contract_of_a_runtime_holds_for_docker(
    lab: Lab, tree: str, file: str, words: str
) -> None:
    code, said = inner(lab, tree, file, "-k", words, engine=EngineKind.DOCKER)
    if code != 0:
        pytest.fail(f"{file} with Docker ended with {code}:\n{said}", pytrace=False)


def test_a_stopped_endpoint_leaves_no_container_with_docker(lab: Lab, site: Site) -> None:
    hello(lab, site, "alice")
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    assert containers(lab) == []
