"""The rolled-out site with one container per person: what people see, and what the host sees."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import looks, rollout
from devtools.lab.lab import Lab
from devtools.lab.looks import ProcessLook
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, HUB_URL, Site
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
TASKS_LOG = f"/var/lib/chamberlain/{ENDPOINT}/launcher/tasks.log"
GONE_S = 120.0
PEOPLE = {"alice": 1001, "bob": 1002}
MOST_S = 100.0
"""For thirty new people; 11 s on a quiet machine, of which 20 s are promised."""
MOST_GROWTH_BYTES = 10 * 1000 * 1000

BY_SLURM = """\
idle_heartbeats_soft: {{ IDLE }}
engine:
  type: GlobusComputeEngine
  max_workers_per_node: 1
  provider:
    {type: SlurmProvider, partition: lab, exclusive: false, cores_per_node: 1, init_blocks: 0,
     min_blocks: 0, launcher: {type: SimpleLauncher}}
"""
SCHEDULER = """\
def hello():
    import os, subprocess

    def said(*words):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    return {
        "uid": os.getuid(),
        "credential": said("munge", "-n"),
        "srun": said("srun", "--version"),
        "squeue": said("squeue", "--me", "--noheader"),
        # The folder of a user endpoint is on the login node alone.
        "ran": said("srun", "--chdir=/tmp", "sh", "-c", "id -u; hostname"),
    }
"""

PATIENT = """\
def hello():
    import os, pathlib, time
    # The share is not in the container; the home is.
    home = pathlib.Path.home()
    (home / "patient.runs").touch()
    while not (home / "patient.ends").exists():
        time.sleep(0.1)
    return {"uid": os.getuid()}
"""

NOT_COMPILED = """\
import importlib.util, json, pathlib, sys

def is_compiled(file):
    # See PEP 552: flags, then the source's time, or a hash that is not looked at.
    head = pathlib.Path(importlib.util.cache_from_source(file)).read_bytes()[:16]
    flags, written_at = (int.from_bytes(head[at:at + 4], "little") for at in (4, 8))
    return flags == 1 or (flags == 0 and written_at == int(file.stat().st_mtime))

root = pathlib.Path(sys.argv[1])
folders = [root / "opt/chamberlain/lib", *root.glob("usr/lib/python3.*")]
found = [file for folder in folders for file in folder.rglob("*.py")]
files = [file for file in found if not file.is_symlink()]
bad = [str(file) for file in files if not is_compiled(file)]
json.dump({"seen": len(files) > 1000, "not_compiled": bad[:9]}, sys.stdout)
"""

ALL_AT_ONCE = """\
import json, sys, threading, time
from chamberlain import Client, Executor

def hello():
    import os
    return os.getuid()

given = json.load(sys.stdin)
ended = {}

def first_result(name, token):
    begun = time.monotonic()
    try:
        with Executor(given["endpoint"], Client(given["hub"], token)) as executor:
            answer = executor.submit(hello).result(timeout=given["limit_s"])
    except Exception as error:
        answer = repr(error)
    ended[name] = (answer, round(time.monotonic() - begun, 2))

threads = [threading.Thread(target=first_result, args=one) for one in given["tokens"].items()]
for one in threads:
    one.start()
for one in threads:
    one.join()
json.dump(ended, sys.stdout)
"""


@pytest.fixture(scope="module", autouse=True)
def containers(lab: Lab, site: Site) -> Iterator[None]:
    """The site, its user endpoints in containers of the image of the checkout."""
    image = builds.build(Reporter(), lab)
    add_option_for_idling(lab)
    rollout.use_containers(lab, site, engines.install(image, lab), Reporter())
    (lab.share / "scheduler.py").write_text(SCHEDULER)
    (lab.share / "patient.py").write_text(PATIENT)
    shutil.copyfile(BATCH, lab.share / "batch.py")
    (lab.share / "all_at_once.py").write_text(ALL_AT_ONCE)
    yield
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)


def add_option_for_idling(lab: Lab) -> None:
    """Add the option IDLE to the template: leave after so many heartbeats of 5 s without a task."""
    folder = f"/etc/chamberlain/{ENDPOINT}"
    template = lab.run(LOGIN, ["cat", f"{folder}/user_config_template.yaml.j2"]).stdout
    changed = template.replace(
        "idle_heartbeats_soft: 10",
        "heartbeat_period: {{ 5 if IDLE is defined else 30 }}\n"
        "idle_heartbeats_soft: {{ IDLE | default(10) }}",
    )
    assert changed != template
    schema = json.loads(lab.run(LOGIN, ["cat", f"{folder}/user_config_schema.json"]).stdout)
    schema["properties"]["IDLE"] = {"type": "integer"}
    files = {"template.yaml.j2": changed, "schema.json": json.dumps(schema)}
    for name, text in files.items():
        rollout.put(lab, LOGIN, f"{folder}/user_config_{name}", text, mode="0644")


def hello(
    lab: Lab, site: Site, account: str, example: str = "hello.py", **options: object
) -> dict[str, object]:
    answer = rollout.call(lab, site, rollout.person(account), options, example=example)
    assert answer["error"] is None, answer
    result: dict[str, object] = answer["result"]
    return result


def user_endpoints(lab: Lab) -> dict[str, ProcessLook]:
    """Return account -> its user endpoint, as the machine sees it."""
    return {
        one.account: one
        for one in looks.look(lab).processes
        if one.command.endswith("chamberlain_endpoint.user.main") and "catatonit" not in one.command
    }


def home_has(lab: Lab, account: str, name: str) -> bool:
    return lab.run(LOGIN, ["ls", f"/home/{account}/{name}"], check=False).returncode == 0


def of_endpoint(lab: Lab) -> list[str]:
    """Return the ids of all containers of the endpoint on the login node."""
    words = ["podman", "ps", "--all", "--quiet", "--filter", "label=org.chamberlain.endpoint"]
    return lab.run(LOGIN, words).stdout.split()


def test_two_people_are_two_containers_in_two_user_namespaces(lab: Lab, site: Site) -> None:
    for account, uid in PEOPLE.items():
        said = hello(lab, site, account)
        assert (said["hostname"], said["username"], said["uid"]) == (LOGIN, account, uid)
    assert len(of_endpoint(lab)) == len(PEOPLE)
    seen = user_endpoints(lab)
    assert set(seen) == set(PEOPLE)
    for name in ("user", "pid", "mnt"):
        assert seen["alice"].spaces[name] != seen["bob"].spaces[name]
    for account, uid in PEOPLE.items():
        rows = [[int(word) for word in line.split()] for line in seen[account].uid_map]
        assert [uid, uid, 1] in rows
        # All others, root's first of all, are subordinate ids.
        assert all(outside >= 10**9 for inside, outside, _ in rows if inside != uid)


def test_the_scheduler_knows_the_account_from_inside(lab: Lab, site: Site) -> None:
    said = hello(lab, site, "alice", "scheduler.py")
    opened = lab.run(LOGIN, ["unmunge"], given=str(said["credential"])).stdout
    assert "alice (1001)" in opened
    assert str(said["srun"]).startswith("slurm")
    assert said["squeue"] == ""
    assert str(said["ran"]).startswith("1001\nnode1\n")


def test_a_job_is_submitted_and_cancelled_from_inside(lab: Lab, site: Site) -> None:
    said = hello(lab, site, "bob", "batch.py")
    assert said["owner"] == "bob", said
    shown = ["scontrol", "--oneliner", "show", "job", str(said["job"])]
    assert wait_until(lambda: "JobState=CANCELLED" in lab.run(LOGIN, shown).stdout, GONE_S), said


def test_doctor_finds_nothing_wrong_for_an_account(lab: Lab) -> None:
    done = lab.run(LOGIN, [PROGRAM, "doctor", ENDPOINT, "--as", "alice", "--json"], check=False)
    links = json.loads(done.stdout)["links"]
    bad = [one for one in links if one["state"] == "bad"]
    assert (done.returncode, bad) == (0, [])
    names = {one["link"] for one in links if one["state"] == "good"}
    assert {"engine", "container", "home", "munge", "sinfo", "squeue"} <= names


def test_the_launcher_after_a_killed_one_goes_on_with_what_runs(lab: Lab, site: Site) -> None:
    hello(lab, site, "alice")
    before, was = of_endpoint(lab), user_endpoints(lab)["alice"]
    with ThreadPoolExecutor() as pool:
        across = pool.submit(hello, lab, site, "alice", "patient.py")
        assert wait_until(lambda: home_has(lab, "alice", "patient.runs"), GONE_S)
        restarted(lab, "launcher", "-9")
        assert hello(lab, site, "alice")["uid"] == PEOPLE["alice"]
        lab.run(LOGIN, ["touch", "/home/alice/patient.ends"], user="alice")
        assert across.result()["uid"] == PEOPLE["alice"]
    assert of_endpoint(lab) == before
    now = user_endpoints(lab)["alice"]
    assert (now.pid, now.spaces) == (was.pid, was.spaces)
    # The one that goes on with it knows whose it is, and hears of its tasks.
    last = lab.run(LOGIN, ["tail", "-n", "1", TASKS_LOG])
    told = json.loads(last.stdout)
    assert (told["outcome"], told["username"]) == ("ended", rollout.person("alice"))


def restarted(lab: Lab, daemon: str, how: str) -> None:
    """Kill the endpoint's `daemon`, and wait for the one that follows."""
    find = ["pgrep", "-f", f"chamberlain_endpoint.[{daemon[0]}]{daemon[1:]}.main"]  # not itself
    (pid,) = lab.run(LOGIN, find).stdout.split()
    lab.run(LOGIN, ["kill", how, pid])
    assert wait_until(
        lambda: lab.run(LOGIN, find, check=False).stdout.split() not in ([], [pid]), GONE_S
    )


@pytest.mark.parametrize("word", ["podman.service", "munge.service", "manager"])
def test_what_restarts_on_the_host_ends_no_user_endpoint(lab: Lab, site: Site, word: str) -> None:
    hello(lab, site, "alice")
    before, was = of_endpoint(lab), user_endpoints(lab)["alice"]
    if word == "manager":
        restarted(lab, word, "-TERM")
    else:
        lab.run(LOGIN, ["systemctl", "restart", word])
    said = hello(lab, site, "alice", "scheduler.py")
    assert "alice (1001)" in lab.run(LOGIN, ["unmunge"], given=str(said["credential"])).stdout
    assert str(said["ran"]).startswith("1001\nnode1\n")
    assert (of_endpoint(lab), user_endpoints(lab)["alice"].pid) == (before, was.pid)


def test_a_killed_container_leaves_no_batch_job(lab: Lab, site: Site) -> None:
    path = f"/etc/chamberlain/{ENDPOINT}/user_config_template.yaml.j2"
    before = lab.run(LOGIN, ["cat", path]).stdout
    rollout.put(lab, LOGIN, path, BY_SLURM, mode="0644")
    # For a template that changed the same person's user endpoint is another one.
    others = set(of_endpoint(lab))
    try:
        assert str(hello(lab, site, "alice", IDLE=100)["hostname"]).startswith("node")
        assert queue(lab) == "alice"
        (one,) = set(of_endpoint(lab)) - others
        lab.run(LOGIN, ["podman", "kill", "--signal=KILL", one])
        assert wait_until(lambda: queue(lab) == "", 60.0)
        # The sweep ran in a container, too, and is gone as well.
        assert wait_until(lambda: set(of_endpoint(lab)) <= others, GONE_S)
    finally:
        rollout.put(lab, LOGIN, path, before, mode="0644")


def queue(lab: Lab) -> str:
    return lab.run(HUB, ["squeue", "--noheader", "--all", "--format=%u"]).stdout.strip()


def test_a_container_ends_when_nobody_needs_it_any_more(lab: Lab, site: Site) -> None:
    others = set(of_endpoint(lab))
    assert hello(lab, site, "bob", IDLE=1)["uid"] == PEOPLE["bob"]
    assert wait_until(lambda: set(of_endpoint(lab)) <= others, GONE_S)


def test_a_stopped_endpoint_leaves_no_container(lab: Lab, site: Site) -> None:
    hello(lab, site, "alice")
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    assert of_endpoint(lab) == []
    assert user_endpoints(lab) == {}
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    assert wait_until(lambda: rollout.status(lab, site) == "online", GONE_S)


@pytest.mark.parametrize(
    ("host", "wreck", "mend", "link", "todo"),
    [
        (
            *(LOGIN, "systemctl stop munge", "systemctl start munge"),
            *("munge", "does munged run"),
        ),
        (
            *(LOGIN, "rm -r /run/munge", "systemctl restart munge"),
            *("container", "munged makes /run/munge"),
        ),
        (
            *(LOGIN, "mv /etc/slurm/slurm.conf /root", "mv /root/slurm.conf /etc/slurm"),
            *("sinfo", "slurm.conf"),
        ),
        (
            *(HUB, "systemctl stop slurmctld", "systemctl start slurmctld"),
            *("sinfo", "scheduler is silent"),
        ),
    ],
    ids=["no munged", "no /run/munge", "no slurm.conf", "silent scheduler"],
)
def test_doctor_names_the_broken_link_and_what_to_do(
    lab: Lab, host: str, wreck: str, mend: str, link: str, todo: str
) -> None:
    lab.run(host, ["sh", "-c", wreck])
    try:
        words = [PROGRAM, "doctor", ENDPOINT, "--as", "alice", "--json"]
        done = lab.run(LOGIN, words, check=False)
    finally:
        lab.run(host, ["sh", "-c", mend])
    bad = [one for one in json.loads(done.stdout)["links"] if one["state"] == "bad"]
    assert done.returncode != 0
    assert bad[0]["link"] == link, bad
    assert todo in bad[0]["todo"], bad


def test_nothing_of_an_installed_image_is_compiled_at_a_start(lab: Lab) -> None:
    # It made thirty first results last 95 s instead of 17.
    (root,) = lab.run(LOGIN, ["sh", "-c", "echo /var/lib/chamberlain/images/*/root"]).stdout.split()
    done = lab.run(LOGIN, [str(WHERE / "bin/python"), "-I", "-c", NOT_COMPILED, root])
    assert json.loads(done.stdout) == {"seen": True, "not_compiled": []}


def test_thirty_new_people_at_once(lab: Lab, site: Site) -> None:
    new = [name for name in lab.facts.accounts if name.startswith("user")]
    given = {
        "hub": HUB_URL,
        "endpoint": site.endpoint_id,
        "tokens": {name: site.tokens[rollout.person(name)] for name in new},
        "limit_s": 500.0,
    }
    before, begun = storage_bytes(lab), time.monotonic()
    words = ["env", "HOME=/tmp", str(WHERE / "bin/python"), "/srv/lab/all_at_once.py"]
    done = lab.run(HUB, words, user="nobody", given=json.dumps(given), limit_s=560.0)
    took_s = time.monotonic() - begun
    ended = json.loads(done.stdout)
    grown = (storage_bytes(lab) - before) / len(new)
    print(f"{len(new)} new accounts: all first results in {took_s:.1f} s;")
    print(f"slowest {max(one[1] for one in ended.values())} s; {grown / 1e6:.2f} MB an account")
    uids = {name: lab.facts.accounts[name] for name in new}
    assert {name: one[0] for name, one in ended.items()} == uids
    assert grown < MOST_GROWTH_BYTES
    assert took_s < MOST_S


def storage_bytes(lab: Lab) -> int:
    """Return what images and containers take on the login node's disk."""
    folders = ["/var/lib/containers", "/var/lib/chamberlain"]
    # Of one file system each: what is mounted for a container is counted where it is.
    said = lab.run(LOGIN, ["du", "-sxB1", *folders], check=False).stdout
    return sum(int(line.split()[0]) for line in said.splitlines())
