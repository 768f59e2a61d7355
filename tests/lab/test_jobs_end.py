"""Whatever ends, and however: no batch job of ours stays with the scheduler."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, HUB_URL, Site
from devtools.lab.software import WHERE
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

GONE_S = 60.0
"""What is promised."""
LONG_S = 150.0
FOLDER = f"/etc/chamberlain/{ENDPOINT}"
TEMPLATE = """\
idle_heartbeats_soft: {{ IDLE | default(100) }}
heartbeat_period: 5
engine:
  type: GlobusComputeEngine
  max_workers_per_node: 1
  provider:
    type: SlurmProvider
    partition: lab
    exclusive: false
    cores_per_node: 1
    walltime: "01:00:00"
{% if ENV is defined %}
    worker_init: source /srv/lab/env{{ ENV }}/bin/activate
{% endif %}
    init_blocks: 0
    min_blocks: 0
    max_blocks: 1
    launcher: {type: SimpleLauncher}
"""
SCHEMA = {"type": "object", "properties": {"IDLE": {"type": "integer"}, "ENV": {"type": "integer"}}}
SHOWN = """\
def hello():
    import importlib.util, os, platform, sys
    kept = b"x" * 50_000_000
    mine = importlib.util.find_spec("mine") is not None
    return {"job": os.environ.get("SLURM_JOB_ID"), "node": platform.node(), "mine": mine,
            "python": sys.prefix, "size": len(kept)}
"""
VICTIMS = {
    "the user endpoints": "chamberlain_endpoint.user.[m]ain",
    "their keepers": "chamberlain_endpoint.launcher.runtime.[c]hild",
    "the launcher": "chamberlain_endpoint.launcher.[m]ain",
    "supervisord": "bin/[s]upervisord|supervisor.supervisor[d]",
    "their interchanges": "[H]TEX interchange",
}


@pytest.fixture(scope="module", autouse=True)
def by_slurm(lab: Lab, site: Site) -> Iterator[None]:
    """Tasks of the site run in jobs of its scheduler."""
    files = {
        f"{FOLDER}/user_config_template.yaml.j2": TEMPLATE,
        f"{FOLDER}/user_config_schema.json": json.dumps(SCHEMA),
    }
    before = {path: lab.run(LOGIN, ["cat", path]).stdout for path in files}
    (lab.share / "job.py").write_text(SHOWN)
    for path, text in files.items():
        rollout.put(lab, LOGIN, path, text, mode="0644")
    yield
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    for path, text in before.items():
        rollout.put(lab, LOGIN, path, text, mode="0644")
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    rollout.wait_online(lab, site)


def job_of(lab: Lab, site: Site, account: str, **options: object) -> str:
    """Run a task as `account`; return the id of the batch job that it ran in."""
    answer = rollout.call(lab, site, rollout.person(account), options, example="job.py")
    assert answer["error"] is None, answer
    assert answer["result"]["node"].startswith("node")
    return str(answer["result"]["job"])


def queued(lab: Lab) -> dict[str, str]:
    """Return job -> account and state, as the controller itself sees it."""
    said = lab.run(HUB, ["squeue", "--noheader", "--all", "--format=%i %u %T"]).stdout
    return {job: f"{who} {state}" for job, who, state in map(str.split, said.splitlines())}


def gone(lab: Lab, jobs: set[str]) -> bool:
    return not jobs & queued(lab).keys()


@contextmanager
def no_free_node(lab: Lab) -> Iterator[None]:
    """What runs goes on; what is submitted waits."""
    words = ["scontrol", "update", "nodename=node1,node2"]
    lab.run(HUB, [*words, "state=drain", "reason=test"])
    try:
        yield
    finally:
        lab.run(HUB, [*words, "state=resume"])


@contextmanager
def one_runs_and_one_waits(lab: Lab, site: Site) -> Iterator[set[str]]:
    """A job of alice's that runs, and one of bob's that waits with his task; yield their ids.

    In the end there are nodes again, and bob has his result.
    """
    runs = job_of(lab, site, "alice")
    ended: list[str | Exception] = []

    def ask() -> None:
        try:
            ended.append(job_of(lab, site, "bob"))
        except Exception as error:  # noqa: BLE001 - told below, in the test's own thread
            ended.append(error)

    caller = threading.Thread(target=ask)
    with no_free_node(lab):
        caller.start()
        assert wait_until(lambda: "bob PENDING" in queued(lab).values(), GONE_S), ended
        jobs = queued(lab)
        assert jobs[runs] == "alice RUNNING"
        yield set(jobs)
    caller.join()
    # What waited was begun by nobody, so it runs; unless its engine could not be started.
    assert isinstance(ended[0], str) or "interchange" in str(ended[0]), ended
    assert ended[0] not in jobs


@pytest.fixture
def nothing_runs(lab: Lab, site: Site) -> Iterator[None]:
    """The endpoint is fresh, and the queue empty; also afterwards."""
    yield
    lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    assert queued(lab) == {}
    rollout.wait_online(lab, site)


def found(lab: Lab, pattern: str) -> list[str]:
    return lab.run(LOGIN, ["pgrep", "-f", pattern], check=False).stdout.split()


def took(what: str, done: Callable[[], bool], limit_s: float = GONE_S) -> None:
    begun = time.monotonic()
    assert wait_until(done, limit_s), f"{what}: not within {limit_s:g} s"
    print(f"{what}: {time.monotonic() - begun:.1f} s")


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed(lab: Lab, site: Site, victim: str) -> None:
    with one_runs_and_one_waits(lab, site) as jobs:
        if "interchange" in victim:
            took("both are there", lambda: len(found(lab, VICTIMS[victim])) == len(jobs))
        lab.run(LOGIN, ["pkill", "-KILL", "-f", VICTIMS[victim]])
        took(f"jobs gone after a kill -9 of {victim}", lambda: gone(lab, jobs))
    sweeps = lab.run(LOGIN, ["cat", f"/var/lib/chamberlain/{ENDPOINT}/launcher/audit.log"])
    assert "jobs left" not in sweeps.stdout


@pytest.mark.usefixtures("nothing_runs")
def test_a_killed_manager_ends_no_job(lab: Lab, site: Site) -> None:
    job = job_of(lab, site, "alice")
    manager = "chamberlain_endpoint.manager.[m]ain"
    before = found(lab, manager)
    lab.run(LOGIN, ["pkill", "-KILL", "-f", manager])
    # One that is stopped while it starts would not hear of it.
    assert wait_until(lambda: found(lab, manager) not in ([], before), GONE_S)
    rollout.wait_online(lab, site)
    assert job_of(lab, site, "alice") == job


@pytest.mark.usefixtures("nothing_runs")
def test_an_idle_user_endpoint_takes_its_job_along(lab: Lab, site: Site) -> None:
    job = job_of(lab, site, "alice", IDLE=1)
    took("idle and gone", lambda: gone(lab, {job}))


def test_a_job_of_somebody_elses_making_stays(lab: Lab, site: Site) -> None:
    job = job_of(lab, site, "alice")
    named = queued_name(lab, job)
    # Of the same account, and named as ours are, but of a life that nobody noted.
    other = named.replace(named.split(".")[2], "0badcafe")
    words = ["sbatch", "--parsable", "--output=/dev/null", f"--job-name={other}"]
    script = "#!/bin/sh\nsleep 600\n"
    foreign = lab.run(
        LOGIN, ["sh", "-c", 'cd && exec "$@"', "sh", *words], user="alice", given=script
    ).stdout.strip()
    lab.run(LOGIN, ["pkill", "-KILL", "-f", VICTIMS["the user endpoints"]])
    try:
        took("own job gone", lambda: gone(lab, {job}))
        assert foreign in queued(lab)
    finally:
        lab.run(LOGIN, ["scancel", foreign], user="alice")


def queued_name(lab: Lab, job: str) -> str:
    return lab.run(HUB, ["squeue", "--noheader", "--format=%j", f"--jobs={job}"]).stdout.strip()


def test_a_tasks_record_has_its_job_and_node_and_what_it_used(lab: Lab, site: Site) -> None:
    before = time.time()
    answer = rollout.call(lab, site, rollout.person("alice"), {}, example="job.py")
    said, task = answer["result"], answer["task_id"]
    words = [str(WHERE / "bin/chamberlain"), "tasks", "--usage", "--json"]
    token = f"CHAMBERLAIN_TOKEN={site.tokens[rollout.person('alice')]}"
    given = ["env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={HUB_URL}", token]
    listed = json.loads(lab.run(HUB, [*given, *words], user="nobody").stdout)
    (used,) = [one["usage"] for one in listed if one["task_id"] == task]
    assert (used["job_id"], used["hostname"]) == (said["job"], said["node"])
    assert before - 60 < used["started_at"] < used["ended_at"] < time.time() + 60
    assert used["max_rss_bytes"] > 50_000_000
    assert used["cpu_s"] > 0
    # And in the site's own record, which the hub's people cannot change.
    log = f"/var/lib/chamberlain/{ENDPOINT}/launcher/tasks.log"
    told = [json.loads(line) for line in lab.run(LOGIN, ["cat", log]).stdout.splitlines()]
    ends = [one for one in told if one.get("task") == task and one["outcome"] == "ended"]
    assert [one["job"] for one in ends] == [said["job"]]


def make_environment(lab: Lab, number: int, files: dict[str, str]) -> None:
    """Make a virtual environment on all hosts that has ours below it, and `files` on top."""
    lab.run(HUB, ["python3", "-m", "venv", "--without-pip", f"/srv/lab/env{number}"])
    (packages,) = (lab.share / f"env{number}").glob("lib/python3*/site-packages")
    below = WHERE / "lib" / packages.parent.name / "site-packages"
    for name, text in {"below.pth": f"{below}\n", "mine.py": "", **files}.items():
        place = packages / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)


def test_worker_init_chooses_the_users_own_environment(lab: Lab, site: Site) -> None:
    make_environment(lab, 1, {})
    answer = rollout.call(lab, site, rollout.person("alice"), {"ENV": 1}, example="job.py")
    assert answer["error"] is None, answer
    assert (answer["result"]["mine"], answer["result"]["python"]) == (True, "/srv/lab/env1")


OURS = "chamberlain-9.9.9.dist-info/METADATA"
OTHERS = {
    2: ({OURS: "Metadata-Version: 2.1\nName: chamberlain\nVersion: 9.9.9\n"}, "Chamberlain 9.9.9"),
    3: ({"v.pth": "import parsl.version; parsl.version.VERSION = '2020.01.01'\n"}, "2020.01.01"),
}


@pytest.mark.parametrize("number", OTHERS, ids=["of-ours", "of-parsl"])
def test_workers_of_other_versions_are_told_with_both(lab: Lab, site: Site, number: int) -> None:
    files, named = OTHERS[number]
    make_environment(lab, number, files)
    answer = rollout.call(lab, site, rollout.person("alice"), {"ENV": number}, example="job.py")
    assert answer["error"] is not None
    assert named in answer["error"]
    assert "the user endpoint has" in answer["error"]
    assert "worker_init" in answer["error"]


def test_a_lost_login_node_takes_its_jobs_along(lab: Lab, site: Site) -> None:
    job = job_of(lab, site, "alice")
    lab.power_off(LOGIN)
    try:
        took("the job ended by itself", lambda: gone(lab, {job}))
    finally:
        lab.power_on(LOGIN)
        rollout.wait_online(lab, site)
    assert job_of(lab, site, "alice") != job
