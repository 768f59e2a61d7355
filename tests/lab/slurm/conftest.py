"""The lab's site with a template for Slurm, and a laptop that asks many things at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, HUB_URL, Site
from devtools.lab.software import WHERE
from devtools.processes import wait_until

HERE = Path(__file__).parent
FOLDER = f"/etc/chamberlain/{ENDPOINT}"
TEMPLATE = f"{FOLDER}/user_config_template.yaml.j2"
SCHEMA = f"{FOLDER}/user_config_schema.json"
PROGRAM = str(WHERE / "bin/chamberlain-endpoint")
WORDS = ("PARTITION", "WALLTIME", "ACCOUNT", "HOLD", "LABEL", "QOS")
NUMBERS = ("MAX", "NODES", "MAX_WORKERS", "CORES", "MEM", "BAD", "EXCLUSIVE", "IDLETIME", "MIN")
QUEUE_S = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the scheduler's books.

    Attributes:
        limit: its walltime, by which tests tell their jobs apart.
    """

    id: str
    name: str
    state: str
    limit: str
    nodes: str

    @property
    def user_endpoint(self) -> str:
        """Whose it is."""
        return self.name.split(".")[1]


class Slurm:
    """The lab's site and scheduler, as these tests use them."""

    def __init__(self, lab: Lab, site: Site) -> None:
        self.lab = lab
        self.site = site
        self._pool = ThreadPoolExecutor(4)

    def ask(
        self, cases: dict[str, dict[str, Any]], *, limit_s: float = 100.0, account: str = "alice"
    ) -> dict[str, dict[str, Any]]:
        """Return what became of each case: `results`, `error`, `seconds`."""
        question = {
            "endpoint": self.site.endpoint_id,
            "limit_s": limit_s,
            "cases": {
                name: {"options": {}, "arguments": [0], **case} for name, case in cases.items()
            },
        }
        token = self.site.tokens[rollout.person(account)]
        done = self.lab.run(
            HUB,
            [
                *("env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={HUB_URL}"),
                *(f"CHAMBERLAIN_TOKEN={token}", str(WHERE / "bin/python"), "/srv/lab/caller.py"),
            ],
            user="nobody",
            given=json.dumps(question),
            limit_s=limit_s + 60.0,
        )
        answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return answers

    def begin(self, cases: dict[str, dict[str, Any]], **more: Any) -> Future[Any]:
        """Ask, beside what the test does."""
        return self._pool.submit(self.ask, cases, **more)

    def run(self, *words: str, host: str = HUB, user: str = "root") -> str:
        """Return what a command says."""
        return self.lab.run(host, ["timeout", "30", *words], user=user).stdout

    def jobs(self, *, live: bool = False) -> list[Job]:
        """Return the jobs in the scheduler's books, or those that have not ended."""
        states = "PD,R,CG,CF" if live else "all"
        lines = self.run("squeue", "-h", "-a", "-t", states, "-o", "%i|%j|%T|%l|%N").splitlines()
        return [Job(*line.split("|")) for line in lines]

    def live(self, limit: str, state: str = "RUNNING") -> Job:
        """Return the job whose walltime is `limit` as soon as it is in this state."""
        found: list[Job] = []

        def look() -> bool:
            found[:] = [
                job for job in self.jobs(live=True) if (job.limit, job.state) == (limit, state)
            ]
            return bool(found)

        assert wait_until(look, QUEUE_S), (limit, self.jobs())
        return found[0]

    def wait_empty(self) -> None:
        """Return when no job is left."""
        assert wait_until(lambda: not self.jobs(live=True), QUEUE_S), self.jobs(live=True)

    def reset(self, *words: str) -> list[dict[str, Any]]:
        """Return the breakers that `reset-breaker` speaks of."""
        said = self.run(PROGRAM, "reset-breaker", ENDPOINT, "--json", *words, host=LOGIN)
        breakers: list[dict[str, Any]] = json.loads(said)["breakers"]
        return breakers

    def stop_all(self) -> None:
        """End all user endpoints, and their jobs with them."""
        said = self.run(PROGRAM, "user-endpoints", "list", ENDPOINT, "--json", host=LOGIN)
        for one in json.loads(said)["running"]:
            stop = ("user-endpoints", "stop", ENDPOINT, one["user_endpoint"], "--grace", "1")
            self.run(PROGRAM, *stop, host=LOGIN)

    def close(self) -> None:
        """Wait for what was begun."""
        self._pool.shutdown()


@pytest.fixture(scope="module")
def slurm(lab: Lab, site: Site) -> Iterator[Slurm]:
    """The site, with blocks that are Slurm's jobs; afterwards, before others run, as it was."""
    before = {path: lab.run(LOGIN, ["cat", path]).stdout for path in (TEMPLATE, SCHEMA)}
    rollout.put(lab, LOGIN, SCHEMA, json.dumps(_schema()), mode="0644")
    text = (HERE / "template.yaml.j2").read_text()
    rollout.put(lab, LOGIN, TEMPLATE, text, mode="0644")
    (lab.share / "caller.py").write_bytes((HERE / "caller.py").read_bytes())
    one = Slurm(lab, site)
    restart(lab, site)
    yield one
    one.close()
    one.stop_all()
    one.reset()
    for path, content in before.items():
        rollout.put(lab, LOGIN, path, content, mode="0644")
    restart(lab, site)
    assert one.jobs(live=True) == []


@pytest.fixture(autouse=True)
def stopped(slurm: Slurm, request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test ends what it started, so that the next one finds free nodes."""
    yield
    if "told" in request.fixturenames:
        # It only reads what its module's fixture saw.
        return
    slurm.stop_all()
    slurm.wait_empty()


def restart(lab: Lab, site: Site) -> None:
    """Restart the endpoint, so that the hub has its schema at once."""
    lab.run(LOGIN, ["systemctl", "restart", rollout.ENDPOINT_UNIT], limit_s=180.0)
    rollout.wait_online(lab, site)


def results_of(answer: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the results of a case that went well."""
    assert answer["error"] is None, answer
    results: Sequence[dict[str, Any]] = answer["results"]
    return results


def status(slurm: Slurm, user_endpoint: str) -> dict[str, Any]:
    """Return what the hub knows of a user endpoint of alice's from its last heartbeat."""
    token = slurm.site.tokens[rollout.person("alice")]
    answer = rollout.ask(slurm.lab, f"/v2/endpoints/{user_endpoint}/status", token)
    details: dict[str, Any] = (answer or {}).get("details") or {}
    return details


def block_of(slurm: Slurm, job: Job) -> dict[str, Any]:
    """Return what that status says of the block of a job; empty before it says anything."""
    blocks = status(slurm, job.user_endpoint).get("blocks", [])
    return next((one for one in blocks if one["job"] == job.id), {})


def _schema() -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": "string"} for name in WORDS}
    properties |= {name: {"type": "number"} for name in NUMBERS}
    return {"type": "object", "additionalProperties": False, "properties": properties}
