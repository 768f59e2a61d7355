"""Debian 12: the first run, the second, and a task; on hosts of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.lab import plays, rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN, Plan
from devtools.lab.plays import Play
from devtools.lab.rollout import Site
from devtools.package.release import SUITES
from devtools.paths import ROOT
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
DEBIAN = "12"


@dataclass(frozen=True, slots=True)
class Bookworm:
    """A site on Debian 12, from wheels."""

    lab: Lab
    given: dict[str, object]
    first: Play


@pytest.fixture(scope="module")
def bookworm() -> Iterator[Bookworm]:
    report = Reporter()
    lab = Lab(f"ansible12-{os.getpid()}")
    try:
        plan = Plan(only=(HUB, LOGIN), bare=True)
        lab.up(plan, report, bare=True, suite=SUITES[DEBIAN])
        given: dict[str, object] = {"software_wheels": str(plays.wheels(lab, report, DEBIAN))}
        first = plays.play(lab, "site.yml", given)
        yield Bookworm(lab, given, first)
    finally:
        lab.down()


def test_the_first_run_makes_a_site(bookworm: Bookworm) -> None:
    assert bookworm.first.code == 0, bookworm.first.said[-6000:]
    said = bookworm.lab.run(LOGIN, ["cat", "/etc/os-release"]).stdout
    assert f'VERSION_ID="{DEBIAN}"' in said


def test_the_second_run_changes_nothing(bookworm: Bookworm) -> None:
    second = plays.play(bookworm.lab, "site.yml", bookworm.given)
    assert second.code == 0, second.said[-6000:]
    assert second.changed == dict.fromkeys((HUB, LOGIN), 0), second.said


def test_hello_as_alice(bookworm: Bookworm) -> None:
    lab = bookworm.lab
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        shutil.copyfile(ROOT / source, lab.share / Path(source).name)
    listed = json.loads(lab.run(LOGIN, ["chamberlain-endpoint", "list", "--json"]).stdout)
    tokens = rollout.make_tokens(lab, ["alice@example.edu"])
    site = Site(listed["endpoints"][0]["endpoint_id"], tokens)
    answer = rollout.call(lab, site, "alice@example.edu", {})
    assert answer["error"] is None
    assert (answer["result"]["username"], answer["result"]["hostname"]) == ("alice", LOGIN)
