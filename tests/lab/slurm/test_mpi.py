"""MPI programs over the two nodes of one Slurm job, with MPICH, by both launchers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.lab.slurm.conftest import TEMPLATE, Slurm, restart

from devtools.lab import rollout
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import HUB_URL
from devtools.lab.software import WHERE

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
LIMIT_S = 300.0
GONE_S = 60.0
MPI_TEMPLATE = """\
engine:
  type: GlobusMPIEngine
  mpi_launcher: {{ LABEL }}
  max_workers_per_block: 4
  provider:
    type: SlurmProvider
    nodes_per_block: 2
    init_blocks: 0
    max_blocks: 1
    walltime: "00:10:00"
    launcher:
      type: SimpleLauncher
"""
Told = Mapping[str, Any]


@pytest.fixture
def stopped() -> None:
    """These tests share what was played once; nobody is stopped in between."""


@pytest.fixture(scope="module")
def programs(slurm: Slurm) -> Iterator[str]:
    """The endpoint with an engine for MPI, and a folder with programs that all hosts see."""
    before = slurm.run("cat", TEMPLATE, host=LOGIN)
    folder = slurm.lab.share / "mpi"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "marks").mkdir(parents=True)
    (folder / "marks").chmod(0o777)
    for name in ("mpi_rank.py", "mpi_player.py"):
        (folder / name).write_text((Path(__file__).parent / name).read_text())
    use(slurm, MPI_TEMPLATE)
    yield "/srv/lab/mpi"
    use(slurm, before)


def use(slurm: Slurm, template: str) -> None:
    """Have the hub know at once that user endpoints are made of another template."""
    rollout.put(slurm.lab, LOGIN, TEMPLATE, template, mode="0644")
    restart(slurm.lab, slurm.site)


@pytest.fixture(scope="module", params=["mpiexec", "srun"])
def told(request: pytest.FixtureRequest, slurm: Slurm, programs: str) -> Iterator[Told]:
    """What alice saw of all that `mpi_player` does; afterwards no job is left."""
    question = {
        "endpoint": slurm.site.endpoint_id,
        "hub": HUB_URL,
        "token": slurm.site.tokens[rollout.person("alice")],
        "options": {"LABEL": request.param},
        "programs": programs,
    }
    words = ["env", "HOME=/tmp", str(WHERE / "bin/python"), f"{programs}/mpi_player.py"]
    done = slurm.lab.run(HUB, words, user="nobody", given=json.dumps(question), limit_s=LIMIT_S)
    yield json.loads(done.stdout) | {"launcher": request.param}
    for mark in (slurm.lab.share / "mpi/marks").iterdir():
        mark.unlink()
    slurm.stop_all()
    slurm.wait_empty()


def test_ranks_on_two_nodes_are_one_world_of_the_callers_account(told: Told) -> None:
    lines = sorted(told["ring"]["stdout"].splitlines())
    seen = [
        re.fullmatch(r"rank (\d) of 4: sum 10 on (\w+) uid 1001 job (\d+)", one) for one in lines
    ]
    assert [one and one[2] for one in seen] == ["node1", "node1", "node2", "node2"]
    assert len({one[3] for one in seen if one}) == 1
    assert told["ring"]["returncode"] == 0


def test_tasks_share_the_nodes_and_come_in_turn(told: Told) -> None:
    long, short, both = (read_spans(one["stdout"]) for one in told["shared"])
    assert {long[0][0], short[0][0]} == {"node1", "node2"} == {node for node, *_ in both}
    assert short[0][1] < long[0][2]
    # The one that needs both nodes waits for both.
    assert min(began for _, began, _ in both) >= max(long[0][2], short[0][2])


def read_spans(printed: str) -> list[tuple[str, float, float]]:
    lines = [line.split() for line in printed.splitlines()]
    return [(node, float(began), float(ended)) for node, began, ended in lines]


def test_what_could_never_run_is_refused_with_both_sizes(told: Told) -> None:
    assert "asks for 3 nodes" in told["three_nodes"]["error"]
    assert "endpoint has 2" in told["three_nodes"]["error"]
    assert "launcher_options: '$(id)' is not possible" in told["shell_in_options"]["error"]


def test_a_failure_has_its_return_code_and_what_every_rank_printed(told: Told) -> None:
    failed = told["failing"]
    assert (failed["returncode"], failed["stdout"]) == (3, "out\nout\n")
    assert failed["stderr"].count("err\n") == 2
    assert failed["cmd"].startswith("$PARSL_MPI_PREFIX sh -c")


def test_a_python_function_has_a_node_and_the_prefix(told: Told) -> None:
    found = told["python"]["result"]
    assert (found["USER"], found["PARSL_NUM_NODES"]) == ("alice", "1")
    assert found["PARSL_MPI_PREFIX"].startswith(f"{told['launcher']} ")


def test_an_mpi_function_of_the_public_sdk_runs_as_well(told: Told) -> None:
    public = told["public"]
    assert (public["returncode"], sorted(public["stdout"].split())) == (0, ["node1", "node2"])
    assert public["cmd"] == "$PARSL_MPI_PREFIX hostname"


@pytest.mark.parametrize("how", ["walltime", "task_timeout"])
def test_nothing_is_left_on_the_nodes_when_the_time_is_over(told: Told, how: str) -> None:
    ended = told[how]
    assert ended.get("returncode") == 124 or "longer than 2 s" in ended["error"]
    assert sorted(told[f"after_{how}"]["stdout"].split()) == ["0", "0"]


def test_ranks_do_not_outlive_the_worker_that_started_them(told: Told) -> None:
    assert "worker that ran the task died" in told["worker_lost"]["error"]
    assert sorted(told["after_worker_lost"]["stdout"].split()) == ["0", "0"]


def test_a_cancelled_task_leaves_nothing_on_the_nodes_and_one_that_waits_never_begins(
    told: Told,
) -> None:
    seen = told["cancelled"]
    assert seen["asked"] == [True, True]
    assert seen["ends"] == [{"error": "cancelled"}] * 2
    assert seen["begun"] == [2, 0]
    assert sorted(seen["after"]["stdout"].split()) == ["0", "0"]
    assert seen["seconds"] < GONE_S
