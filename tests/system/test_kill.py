"""kill -9 of any process of ours leaves nothing of its user endpoint, and a new task runs."""

from __future__ import annotations

import pwd
from collections.abc import Mapping

import psutil
import pytest
from tests.system import processes
from tests.system.conftest import ALICE, Open

from devtools.processes import wait_until
from devtools.site import Site

pytestmark = [
    pytest.mark.needs_rabbit,
    pytest.mark.needs_root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
WAIT_S = 120.0
GONE_S = 30.0
HTEX, POOL = "ParslEngine", "ProcessPoolEngine"


def add(one, other):
    return one + other


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        ("worker", HTEX),
        ("pool", HTEX),
        ("block", HTEX),
        ("interchange", HTEX),
        ("process-pool worker", POOL),
        ("user endpoint", HTEX),
        ("keeper", HTEX),
        ("manager", HTEX),
        ("launcher", HTEX),
        ("supervisord", HTEX),
    ],
)
def test_a_killed_process_leaves_nothing_behind_and_a_new_task_runs(
    site: Site, open_as: Open, people: Mapping[str, str], kind: str, engine: str
) -> None:
    uid = pwd.getpwnam(people[ALICE]).pw_uid
    # A user endpoint of this test's own: what others left tells nothing here.
    site.endpoint_command("stop", site.name)
    site.start_endpoint()
    executor = open_as(ALICE, ENGINE=engine)
    assert executor.submit(add, 1, 2).result(WAIT_S) == 3
    victim = processes.of_kind(site, kind)
    below = [*victim.children(recursive=True), victim]
    processes.kill(victim)
    assert wait_until(lambda: not left(below, kind), GONE_S), left(below, kind)
    assert wait_until(lambda: not processes.orphans(site, uid), GONE_S), processes.orphans(
        site, uid
    )
    if kind == "supervisord":
        site.start_endpoint()
    assert executor.submit(add, 2, 2).result(WAIT_S) == 4
    assert processes.orphans(site, uid) == []


def left(below: list[psutil.Process], kind: str) -> list[str]:
    """Return what still runs of those that must have ended with the one that was killed."""
    return [processes.words(one) for one in below if processes.is_running(one)]
