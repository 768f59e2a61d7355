"""`python -m bench.containers`: containers beside processes, on a lab that is up.

Both runtimes in turn (A B A B), on the same endpoint and host, in one run: what counts is the
ratio. `--write-docs` puts the last run's figures into the page.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any, Final

import click
import psutil

from bench.peer.memory import settled_mb
from devtools.lab import cgroups, rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, HUB_URL, Site
from devtools.lab.software import WHERE
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter

PAGE: Final = ROOT / "docs/reference/performance.md"
OUT: Final = ROOT / "build/containers.json"
BEGIN: Final = "<!-- made by: python -m bench.containers --write-docs -->"
END: Final = "<!-- end of what bench.containers made -->"

_SETTINGS: Final = f"/etc/chamberlain/{ENDPOINT}/launcher.toml"
_PERSON: Final = "alice"
_STARTS: Final = 20
_COLD: Final = 5
_ROUNDS: Final = 2
_TARGET_S: Final = 0.15
_KINDS: Final = ("process", "container")


def compare(lab: Lab, report: Reporter) -> dict[str, Any]:
    """Return what was measured; the lab's endpoint runs containers afterwards, as before.

    Raises:
        CannotGoOnError: the lab is not up, or has no containers, or a call failed.
    """
    site = rollout.read(lab)
    if site is None or 'kind = "container"' not in lab.run(LOGIN, ["cat", _SETTINGS]).stdout:
        raise CannotGoOnError(f"Bring up one: ./dev lab up --containers --name {lab.name}")
    load = round(os.getloadavg()[0], 2)
    with report.step("Starting what ends at once, in turn"):
        starts = _starts(lab)
    cold: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    memory: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    try:
        for number in range(_ROUNDS):
            for kind in _KINDS:
                with report.step(f"Cold starts: {kind}, round {number + 1}"):
                    _use(lab, site, kind)
                    empty_mb = settled_mb(lambda: _processes(lab))
                    cold[kind] += _cold_starts(lab, site)
                    grown_mb = settled_mb(lambda: _processes(lab)) - empty_mb
                    memory[kind].append(grown_mb / _COLD)
    finally:
        _use(lab, site, "container")
    return {
        "load_before": load,
        "first_instruction_s": {kind: _middle(starts[kind]) for kind in _KINDS},
        "cold_start_s": {kind: _middle(cold[kind]) for kind in _KINDS},
        "idle_mb": {kind: round(statistics.mean(memory[kind]), 1) for kind in _KINDS},
        "starts": _STARTS,
        "cold_starts": _COLD * _ROUNDS,
    }


def _middle(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def _starts(lab: Lab) -> dict[str, list[float]]:
    (lab.share / "container_start.py").write_bytes((ROOT / "bench/container_start.py").read_bytes())
    question = {"config": _SETTINGS, "account": _PERSON, "starts": _STARTS}
    program = [str(WHERE / "bin/python"), "-I", "/srv/lab/container_start.py"]
    said = lab.run(LOGIN, program, given=json.dumps(question), limit_s=300.0).stdout
    taken: dict[str, list[float]] = json.loads(said)
    return taken


def _use(lab: Lab, site: Site, kind: str) -> None:
    """Have the endpoint run `kind`, from a fresh start on."""
    change = f's/^kind = "[a-z]*"$/kind = "{kind}"/'
    lab.run(LOGIN, ["sed", "-i", change, _SETTINGS])
    lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    rollout.wait_online(lab, site)
    # One of each runtime's own first time is not what a person meets.
    rollout.call(lab, site, rollout.person("bob"), {"MAX_WORKERS": 9})


def _cold_starts(lab: Lab, site: Site) -> list[float]:
    (lab.share / "measure.py").write_bytes((ROOT / "bench/measure.py").read_bytes())
    question = {
        "endpoint": site.endpoint_id,
        "cold": [{"MAX_WORKERS": workers} for workers in range(1, _COLD + 1)],
        "warm": 1,
        "tasks": 1,
        "limit_s": 120,
    }
    done = lab.run(
        HUB,
        [
            *("env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={HUB_URL}"),
            f"CHAMBERLAIN_TOKEN={site.tokens[rollout.person(_PERSON)]}",
            *(str(WHERE / "bin/python"), "/srv/lab/measure.py"),
        ],
        user="nobody",
        given=json.dumps(question),
        limit_s=300.0,
    )
    taken: list[float] = json.loads(done.stdout)["cold_starts_s"]
    return taken


def _processes(lab: Lab) -> list[psutil.Process]:
    """Return all processes of the login node: keepers and monitors cost something, too."""
    mark, found = f"/{cgroups.PREFIX}{lab.name}/{LOGIN}/", []
    for one in psutil.process_iter():
        try:
            is_there = mark in Path(f"/proc/{one.pid}/cgroup").read_text()
        except OSError:
            continue
        # Podman's service leaves by itself a few seconds after the last request.
        if is_there and one.name() != "podman":
            found.append(one)
    return found


def table(document: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    first, cold = document["first_instruction_s"], document["cold_start_s"]
    idle = document["idle_mb"]
    more_s = first["container"] - first["process"]
    share = first["container"] / cold["container"]
    rows = [
        ("start: the launcher's wish to the first instruction", first, "s", 2),
        ("cold start: first submit to first result, thread pool", cold, "s", 2),
        ("memory of an idle user endpoint (PSS, with keeper or monitor)", idle, "MB", 1),
    ]
    lines = ["| what | process | container | container / process |", "|---|---|---|---|"]
    for what, seen, unit, digits in rows:
        process, container = seen["process"], seen["container"]
        figures = f"{process:.{digits}f} {unit} | {container:.{digits}f} {unit}"
        lines.append(f"| {what} | {figures} | {container / process:.2f} |")
    told = (
        f"A container begins {more_s:+.2f} s later than a process (target {_TARGET_S:+.2f} s); "
        f"its start is {share:.0%} of its cold start. Medians of {document['starts']} starts and "
        f"{document['cold_starts']} cold starts each, load before it began "
        f"{document['load_before']}."
    )
    return "\n".join([*lines, "", told])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lab", "name", default="lab", show_default=True, help="A lab with containers.")
@click.option("--write-docs", is_flag=True, help="Measure nothing: the last run goes to the page.")
def main(name: str, write_docs: bool) -> None:
    """Measure containers beside processes on a lab that is up; two minutes."""
    if write_docs:
        text = PAGE.read_text()
        head, rest = text.split(BEGIN)
        made = table(json.loads(OUT.read_text()))
        PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}")
        return
    document = compare(Lab(name), Reporter())
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(document, indent=2) + "\n")
    click.echo(table(document))


if __name__ == "__main__":
    main()
