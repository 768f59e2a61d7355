"""A job that takes more memory than it has asked for, on a real Slurm that counts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.slurm.conftest import Slurm

from devtools.lab import slurm_conf

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
# Without control groups, which are systemd's here: Slurm adds up what a job's processes hold.
COUNTED = """\
SelectTypeParameters=CR_Core_Memory
DefMemPerNode=500
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
"""
TOO_MUCH_MB = 700.0


@pytest.fixture(scope="module")
def counted(slurm: Slurm) -> Iterator[Slurm]:
    """The lab's Slurm, which ends jobs for their memory."""
    slurm.wait_empty()
    with slurm_conf.changed(slurm.lab, COUNTED):
        yield slurm
        slurm.stop_all()
        slurm.wait_empty()


def test_a_job_that_takes_too_much_memory_is_told_with_what_to_do(counted: Slurm) -> None:
    hog = {"options": {"WALLTIME": "00:14:00"}, "function": "hog", "arguments": [TOO_MUCH_MB]}
    answer = counted.ask({"hog": hog})["hog"]
    assert answer["results"] == []
    assert "were killed on node" in answer["error"]
    assert "their job used more memory than it had asked for" in answer["error"]
    assert "while the task ran" in answer["error"]
    assert "Ask for more memory" in answer["error"]
