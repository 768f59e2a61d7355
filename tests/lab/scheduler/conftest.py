"""One lab with two compute nodes, and a site on it, for all tests of schedulers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.lab.rollout import Site
from devtools.say import Reporter

NODES = 2


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Lab]:
    """Hub, login node and two compute nodes of this test session's own.

    Who writes tests may name a lab that is up in CHAMBERLAIN_LAB, which stays as it is then.
    """
    there = os.environ.get("CHAMBERLAIN_LAB")
    if there:
        yield Lab(there)
        return
    one = Lab(f"test-scheduler-{os.getpid()}")
    try:
        one.up(Plan(nodes=NODES), Reporter())
        yield one
    finally:
        one.down()


@pytest.fixture(scope="session")
def cluster(two_nodes: Lab) -> Site:
    """Hub and endpoint on the lab's hosts, online."""
    return rollout.read(two_nodes) or rollout.roll_out(two_nodes, Reporter())
