"""The cluster of these tests: see README.md beside this file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.system.pbs.clusters import HOST_VARIABLE, Cluster, LabCluster, PbsCluster

from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.say import Reporter


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The OpenPBS that CHAMBERLAIN_PBS_HOST names, or a lab of this test session's own."""
    named = os.environ.get(HOST_VARIABLE)
    if named:
        real = PbsCluster(named)
        real.prepare()
        yield real
        real.close()
        return
    lab = Lab(f"test-pbs-{os.getpid()}")
    try:
        lab.up(Plan(), Reporter())
        stand_in = LabCluster(lab)
        stand_in.prepare()
        yield stand_in
    finally:
        lab.down()
