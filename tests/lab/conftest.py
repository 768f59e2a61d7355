"""One lab for all tests of the group: booted hosts, with a site rolled out on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from devtools.lab import cache, cgroups, rollout, software, state
from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.lab.rollout import Site
from devtools.paths import ROOT
from devtools.say import Reporter

FILES = ("pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("wire", "sdk", "hub", "endpoint", "devtools", "examples", "tests", "ansible")
MORE = 30
"""Accounts beside alice and bob, for the day on which everybody comes at once."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Hub, login node and two compute nodes, with our programs; of this test session's own.

    Who writes tests may name a lab that is up in CHAMBERLAIN_LAB, which stays as it is then.
    """
    there = os.environ.get("CHAMBERLAIN_LAB")
    if there:
        yield Lab(there)
        return
    one = Lab(f"test-{os.getpid()}")
    try:
        one.up(Plan(nodes=2, more_accounts=MORE), Reporter())
        yield one
    finally:
        one.down()
        assert not state.folder(one.name).exists()
        assert cgroups.left(one.name) == []


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    """Hub and endpoint on the lab's hosts, online; what a file sets for containers ends with it."""
    there = rollout.read(lab) or rollout.roll_out(lab, Reporter())
    with rollout.settings_kept(lab, there):
        yield there


@pytest.fixture(scope="session")
def tree(lab: Lab) -> str:
    """The checkout on all hosts, and what runs its tests; return the path to it there."""
    folder, tools = lab.share / "tree", lab.share / "tools"
    unwanted = shutil.ignore_patterns("__pycache__")
    folder.mkdir(mode=0o755)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    report = Reporter()
    shutil.copytree(software.test_tools(cache.base(report), report), tools)
    return "/srv/lab/tree"
