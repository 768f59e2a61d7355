"""`MPIFunction` of the public SDK, unmodified, through our hub and agent onto two nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.slurm.conftest import TEMPLATE, Slurm, restart

from devtools import public
from devtools.lab import rollout
from devtools.lab.plan import HUB, LOGIN

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
PLAYER = Path(__file__).parent / "public_mpi.py"
MPI_TEMPLATE = """\
engine:
  type: GlobusMPIEngine
  mpi_launcher: {{ LABEL }}
  provider:
    type: SlurmProvider
    nodes_per_block: 2
    init_blocks: 0
    max_blocks: 1
    walltime: "00:10:00"
    launcher: {type: SimpleLauncher}
"""
LIMIT_S = 240.0
# The SDK is this machine's: in the hub's network, where names are those of the lab.
AT_THE_HUB = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


@pytest.fixture(scope="module")
def mpi(slurm: Slurm) -> Iterator[Slurm]:
    """The lab's site with an engine for MPI."""
    before = slurm.run("cat", TEMPLATE, host=LOGIN)
    for text in (MPI_TEMPLATE, before):
        rollout.put(slurm.lab, LOGIN, TEMPLATE, text, mode="0644")
        restart(slurm.lab, slurm.site)
        if text == MPI_TEMPLATE:
            yield slurm


def play(slurm: Slurm, folder: Path, options: dict[str, str]) -> dict[str, Any]:
    hosts = folder / "hosts"
    hosts.write_text(slurm.run("cat", "/etc/hosts"))
    spaces = ["nsenter", "-t", str(slurm.lab.host(HUB).leader), "-n", "--"]
    spaces += ["unshare", "--mount", "--propagation", "private", "--"]
    words = [str(public.python(public.SDK_NEWEST)), str(PLAYER)]
    question = {
        "endpoint": slurm.site.endpoint_id,
        "token": slurm.site.tokens[rollout.person("alice")],
        "options": options,
    }
    done = subprocess.run(
        [*spaces, "sh", "-ec", AT_THE_HUB, "sh", str(hosts), *words],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("launcher", ["mpiexec", "srun"])
def test_an_mpi_function_of_the_public_sdk_has_its_ranks_on_two_nodes(
    mpi: Slurm, tmp_path: Path, launcher: str
) -> None:
    told = play(mpi, tmp_path, {"LABEL": launcher})
    assert told["returncode"] == 0, told
    lines = sorted(line.split() for line in told["stdout"].splitlines())
    assert [line[0] for line in lines] == ["node1", "node1", "node2", "node2"]
    [job] = mpi.jobs(live=True)
    assert {(line[1], line[2]) for line in lines} == {(job.id, "hello")}
    assert told["kind"].startswith("globus_compute_sdk.")
