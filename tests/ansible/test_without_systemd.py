"""The same roles on a host whose first process is not systemd: supervisord alone runs all of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ansible.conftest import files
from tests.ansible.test_rollout import PROGRAM, differences, processes

from devtools.lab import cgroups, plays, rollout, state
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, Plan
from devtools.lab.plays import Play
from devtools.lab.rollout import Site
from devtools.paths import ROOT
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


@dataclass(frozen=True, slots=True)
class Made:
    """A site on one host without systemd.

    Attributes:
        before: its files before.
        first: the run that made it.
    """

    lab: Lab
    given: dict[str, object]
    before: set[str]
    first: Play
    site: Site

    def play(self, playbook: str, *words: str) -> Play:
        return plays.play(self.lab, playbook, self.given, *words)


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    report = Reporter()
    lab = Lab(f"plain-{os.getpid()}")
    try:
        lab.up(Plan(only=(HUB,), bare=True, systemd=False), report, bare=True)
        given: dict[str, object] = {
            "software_wheels": str(plays.wheels(lab, report)),
            "endpoint_scheduler": "none",
            "worker_scheduler": "none",
        }
        before = files(lab, HUB)
        first = plays.play(lab, "site.yml", given, "--diff")
        assert first.code == 0, first.said[-6000:]
        for source in ("devtools/demo_caller.py", "examples/hello.py"):
            shutil.copyfile(ROOT / source, lab.share / Path(source).name)
        (row,) = json.loads(lab.run(HUB, [PROGRAM, "list", "--json"]).stdout)["endpoints"]
        site = Site(row["endpoint_id"], rollout.make_tokens(lab, ["alice@example.edu"]))
        yield Made(lab, given, before, first, site)
    finally:
        lab.down()
        assert not state.folder(lab.name).exists()
        assert cgroups.left(lab.name) == []


def test_a_second_run_changes_nothing(made: Made) -> None:
    second = made.play("site.yml")
    assert (second.code, second.changed) == (0, {HUB: 0}), second.said[-6000:]


def test_everything_is_below_a_supervisord_and_no_secret_is_in_sight(made: Made) -> None:
    running = processes(made.lab, HUB)
    for name in ("broker-supervisord.conf", "hub-supervisord.conf", "cluster/supervisord.conf"):
        assert name in running
    password = made.lab.run(HUB, ["cat", "/etc/rabbitmq/chamberlain-password"]).stdout.strip()
    assert len(password) >= 32
    assert password not in running + made.first.said
    owners = made.lab.run(HUB, ["ps", "-eo", "user:20,comm"]).stdout.splitlines()
    assert {line.split()[0] for line in owners if "beam" in line or "epmd" in line} == {"rabbitmq"}
    assert {line.split()[0] for line in owners if "chamberlain-hub" in line.split()[1]} <= {
        "chamberlain-hub"
    }


def test_hello_as_alice(made: Made) -> None:
    answer = rollout.call(made.lab, made.site, "alice@example.edu", {})
    assert answer["error"] is None
    assert (answer["result"]["username"], answer["result"]["uid"]) == ("alice", 1001)


def test_what_is_stopped_is_started_by_the_next_run(made: Made) -> None:
    """As after a boot: /run is empty, and nothing runs."""
    pids = made.lab.run(HUB, ["sh", "-c", "cat /run/chamberlain*/supervisord.pid"]).stdout.split()
    made.lab.run(HUB, ["kill", "-TERM", *pids])
    made.lab.run(HUB, [PROGRAM, "stop", "cluster"])
    ended = "while pgrep -f '[h]ub-supervisord|[b]roker-supervisord'; do sleep 0.2; done"
    made.lab.run(HUB, ["sh", "-c", ended])
    made.lab.run(HUB, ["sh", "-c", "rm -rf /run/chamberlain*"])
    again = made.play("site.yml")
    assert again.code == 0, again.said[-6000:]
    answer = rollout.call(made.lab, made.site, "alice@example.edu", {})
    assert (answer["error"], answer["result"]["username"]) == (None, "alice")


def test_what_is_taken_away_leaves_nothing(made: Made) -> None:
    done = made.play("uninstall.yml", "-e", "purge=true")
    assert done.code == 0, done.said[-6000:]
    assert differences(made.before, files(made.lab, HUB)) == []
    assert processes(made.lab, HUB) == ""
    assert made.lab.run(HUB, ["sh", "-c", "ls -d /run/chamberlain*"], check=False).stdout == ""
