"""A real site of this test session's own: hub, broker, endpoint, and people with accounts.

As root the multi-user form, with accounts named `chtest...` that are removed at the end; else
the single-account form, where tests marked needs_root do not run.
"""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chamberlain import Client, Executor
from devtools.accounts import MadeAccounts
from devtools.processes import standing_below
from devtools.programs import Programs
from devtools.rabbit import PrivateRabbit
from devtools.say import Reporter
from devtools.site import Plan, Site

ALICE, BOB, MALLORY = "alice@example.edu", "bob@example.edu", "mallory@elsewhere.org"
# Everybody below is mapped by the file, and must be refused all the same.
TO_ROOT, TO_SYSTEM, TO_MANAGER = "root@example.edu", "www@example.edu", "service@example.edu"
TO_NOBODY_HERE, TO_DENIED_GROUP = "ghost@example.edu", "denied@example.edu"
DENIED_GROUP = "chtestdenied"

TEMPLATE = """\
idle_heartbeats_soft: {{ SOFT | default(10) }}
idle_heartbeats_hard: {{ HARD | default(0) }}
{% if "undefined" in (BREAK | default("")) %}
display_name: {{ no_such_name }}
{% elif "yaml" in (BREAK | default("")) %}
display_name: [never closed
{% elif "engine" in (BREAK | default("")) %}
engine: {type: ThreadPolEngine}
{% elif "setup" in (BREAK | default("")) %}
endpoint_setup: "echo cannot find the module >&2; exit 3"
{% endif %}
{% if "engine" not in (BREAK | default("")) %}
heartbeat_period: {{ HEARTBEAT | default(30) }}
engine:
  type: {{ ENGINE | default("ThreadPoolEngine") }}
{% if ENGINE | default("") == "ParslEngine" %}
  address: 127.0.0.1
  max_workers_per_node: {{ MAX_WORKERS | default(2) }}
{% else %}
  max_workers: {{ MAX_WORKERS | default(2) }}
{% endif %}
{% endif %}
"""
SCHEMA = """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "BREAK": {"enum": ["undefined", "yaml", "engine", "setup"]},
    "MAX_WORKERS": {"type": "integer", "minimum": 1, "maximum": 8},
    "ENGINE": {"enum": ["ThreadPoolEngine", "ProcessPoolEngine", "ParslEngine"]},
    "HEARTBEAT": {"type": "integer", "minimum": 5},
    "SOFT": {"type": "integer", "minimum": 1},
    "HARD": {"type": "integer", "minimum": 1},
    "NUMBER": {"type": "integer"}
  },
  "additionalProperties": false
}
"""

Open = Callable[..., Executor]


@pytest.fixture(scope="session")
def people(public_folder: Path) -> Iterator[Mapping[str, str | None]]:
    """Username at the hub -> account that the mapping file names."""
    if os.geteuid() != 0:
        yield {ALICE: getpass.getuser(), BOB: None, MALLORY: None}
        return
    made = MadeAccounts(public_folder / "accounts.json")
    try:
        made.ensure("chtesthub")
        if not _has("passwd", "chamberlain"):
            made.claim("chamberlain")  # configure makes it
        for name in ("chtestalice", "chtestbob", "chtestdeny"):
            made.ensure(name, public_folder / name)
        _run("groupadd", "--force", DENIED_GROUP)
        _run("usermod", "--append", "--groups", DENIED_GROUP, "chtestdeny")
        yield {
            ALICE: "chtestalice",
            BOB: "chtestbob",
            MALLORY: None,
            TO_ROOT: "root",
            TO_SYSTEM: "www-data",
            TO_MANAGER: "chamberlain",
            TO_NOBODY_HERE: "chtest-not-here",
            TO_DENIED_GROUP: "chtestdeny",
        }
    finally:
        made.remove_all()
        if _has("group", DENIED_GROUP):
            _run("groupdel", DENIED_GROUP)


@pytest.fixture(scope="session")
def site(
    public_folder: Path,
    programs: Programs,
    people: Mapping[str, str | None],
    rabbit: PrivateRabbit,
) -> Iterator[Site]:
    """The site, online."""
    files = {}
    for name, text in (("template", TEMPLATE), ("schema", SCHEMA)):
        files[name] = public_folder / name
        files[name].write_text(text)
    multi = os.geteuid() == 0
    plan = Plan(
        multi=multi,
        people=people,
        owner=ALICE,
        hub_account="chtesthub" if multi else None,
        options=[f"--{name}-config={path}" for name, path in files.items()],
        policy={"denied_groups": [DENIED_GROUP]} if multi else {},
    )
    one = Site(public_folder / "site", programs, plan, rabbit)
    try:
        one.start(Reporter())
        yield one
    finally:
        one.stop()
        assert standing_below(one.folder) == []


@pytest.fixture
def open_as(site: Site) -> Iterator[Open]:
    """Open an Executor as somebody; closed at the end of the test."""
    opened: list[Executor] = []

    def open_one(person: str, **options: Any) -> Executor:
        client = Client(site.hub_url, site.tokens[person])
        opened.append(Executor(site.endpoint_id, client, user_endpoint_config=options))
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.shutdown(wait=False, cancel_futures=True)
        executor.client.close()


def _has(database: str, name: str) -> bool:
    asked = subprocess.run(["getent", database, name], capture_output=True, check=False)
    return asked.returncode == 0


def _run(program: str, *arguments: str) -> None:
    subprocess.run([f"/usr/sbin/{program}", *arguments], check=True, capture_output=True)
