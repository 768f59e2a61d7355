"""What a real Slurm costs: `python -m bench.slurm [--name LAB]`, as root.

Brings up a lab with one compute node (or uses LAB, which is up), has its endpoint use Slurm, and
measures from the hub's host, through the SDK: a cold start without the time that the job was
pending, and warm round trips. A pending time begins with the submission and ends with the first
line of the job's script; all hosts of a lab have the same clock. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN, Plan
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, HUB_URL, Site
from devtools.lab.software import WHERE
from devtools.say import Reporter

TARGETS: Final = {"cold_s": 2.5, "warm_p50_s": 0.015}
_COLD: Final = 5
_WARM: Final = 300
_LIMIT_S: Final = 120.0
_FOLDER: Final = f"/etc/chamberlain/{ENDPOINT}"
_SCHEMA: Final = {"type": "object", "properties": {"RUN": {"type": "integer"}}}
_TEMPLATE: Final = """\
engine:
  type: GlobusComputeEngine
  label: bench-{{ RUN }}
  max_workers_per_node: 1
  provider:
    type: SlurmProvider
    partition: lab
    exclusive: false
    cores_per_node: 1
    init_blocks: 1
    worker_init: |
      export BENCH_BEGAN=$(date +%s.%N)
      export PATH=/opt/chamberlain/bin:$PATH
    launcher: {type: SrunLauncher}
"""


def measure(lab: Lab, site: Site) -> dict[str, Any]:
    """Return the figures of a lab whose endpoint uses the template above."""
    names = {"template.yaml.j2": _TEMPLATE, "schema.json": json.dumps(_SCHEMA)}
    before = {}
    for name, text in names.items():
        path = f"{_FOLDER}/user_config_{name}"
        before[path] = lab.run(LOGIN, ["cat", path]).stdout
        rollout.put(lab, LOGIN, path, text, mode="0644")
    caller = Path(__file__).with_name("slurm_caller.py")
    (lab.share / caller.name).write_bytes(caller.read_bytes())
    try:
        _restart(lab, site)
        return _figures(_ask(lab, site))
    finally:
        for path, text in before.items():
            rollout.put(lab, LOGIN, path, text, mode="0644")
        _restart(lab, site)


def _restart(lab: Lab, site: Site) -> None:
    lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    rollout.wait_online(lab, site)


def _ask(lab: Lab, site: Site) -> dict[str, Any]:
    first = os.getpid() * 100
    question = {
        "endpoint": site.endpoint_id,
        # Another number is another user endpoint, with a job of its own.
        "cold": [{"RUN": first + number} for number in range(_COLD)],
        "warm": _WARM,
        "limit_s": _LIMIT_S,
    }
    token = site.tokens[rollout.person("alice")]
    words = [
        *("env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={HUB_URL}", f"CHAMBERLAIN_TOKEN={token}"),
        *(str(WHERE / "bin/python"), "/srv/lab/slurm_caller.py"),
    ]
    given = json.dumps(question)
    done = lab.run(HUB, words, user="nobody", given=given, limit_s=_COLD * _LIMIT_S)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _figures(answer: dict[str, Any]) -> dict[str, Any]:
    cold = [one["all_s"] - one["pending_s"] for one in answer["cold"]]
    warm = answer["warm_s"]
    return {
        "load": round(os.getloadavg()[0], 2),
        "cold_s": round(statistics.median(cold), 3),
        "colds_s": [round(one, 3) for one in cold],
        "pending_s": round(statistics.median(one["pending_s"] for one in answer["cold"]), 3),
        "warm_p50_s": round(statistics.median(warm), 4),
        "warm_p95_s": round(warm[int(0.95 * len(warm))], 4),
        "targets": TARGETS,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--name", help="a lab that is up, whose endpoint has processes")
    arguments = parser.parse_args()
    report = Reporter()
    with ExitStack() as held:
        lab = Lab(arguments.name or f"bench-{os.getpid()}")
        if arguments.name is None:
            held.callback(lab.down)
            lab.up(Plan(), report)
        site = rollout.read(lab) or rollout.roll_out(lab, report)
        with report.step("Measuring: blocks that are Slurm's jobs"):
            figures = measure(lab, site)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
