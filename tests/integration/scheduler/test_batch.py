"""Blocks as Slurm jobs, with Parsl's real provider and stand-ins for Slurm's programs.

The stand-ins run each job as a process of this host. What they cannot show, a real Slurm does.
"""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.scheduler.batch import BatchBlocks
from chamberlain_endpoint.scheduler.choose import make_blocks
from chamberlain_endpoint.scheduler.port import BlockEnded, BlockRefusedError

NAME = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
WAIT_S = 30.0

Ends = queue.SimpleQueue[BlockEnded]


def slurm(tmp_path: Path, **changes: Any) -> BatchBlocks:
    provider = {"type": "SlurmProvider", "launcher": {"type": "SimpleLauncher"}, **changes}
    config = rendered.parse({"engine": {"type": "GlobusComputeEngine", "provider": provider}})
    engine = settled.read(config.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    assert not isinstance(engine.provider, settled.LocalProvider)
    return BatchBlocks(engine.provider, run_dir=tmp_path / "run", name=NAME, period_s=0.1)


def test_a_job_that_fails_says_how_and_what_it_printed(tmp_path: Path, jobs: Path) -> None:
    blocks, ends = slurm(tmp_path, worker_init="echo no such module >&2\nexit 3"), Ends()
    blocks.launch("0", "true", ends.put)
    assert ends.get(timeout=WAIT_S) == BlockEnded("0", "ended with exit code 3", "no such module")
    blocks.stop()


def test_a_job_that_is_cancelled_from_outside_is_told_of(tmp_path: Path, jobs: Path) -> None:
    blocks, ends = slurm(tmp_path), Ends()
    blocks.launch("0", "sleep 600", ends.put)
    os.system("scancel 1")  # an operator
    ended = ends.get(timeout=WAIT_S)
    assert ended.how == "were cancelled, by an operator or from your account"
    blocks.stop()


def test_stop_cancels_all_and_tells_nobody(tmp_path: Path, jobs: Path) -> None:
    blocks, ends = slurm(tmp_path), Ends()
    for block in ("0", "1"):
        blocks.launch(block, "sleep 600", ends.put)
    blocks.stop()
    assert len(list(jobs.glob("*.cancelled"))) == 2
    assert ends.empty()


def test_one_block_is_cancelled_and_the_other_goes_on(tmp_path: Path, jobs: Path) -> None:
    blocks, ends = slurm(tmp_path), Ends()
    for block in ("0", "1"):
        blocks.launch(block, "sleep 600", ends.put)
    blocks.cancel("0")
    assert ends.get(timeout=WAIT_S).block == "0"
    assert not (jobs / "2.cancelled").exists()
    blocks.stop()


def test_what_the_scheduler_says_no_to_is_said_to_the_caller(tmp_path: Path, jobs: Path) -> None:
    blocks = slurm(tmp_path, partition="closed")
    with pytest.raises(BlockRefusedError) as refused:
        blocks.launch("0", "true", Ends().put)
    assert "invalid partition specified: closed" in refused.value.public
    blocks.stop()


def test_without_the_programs_it_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    blocks = slurm(tmp_path)
    with pytest.raises(BlockRefusedError) as refused:
        blocks.launch("0", "true", Ends().put)
    assert "sbatch" in refused.value.public
    blocks.stop()


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    provider = {"type": "KubernetesProvider", "image": "worker:1"}
    config = rendered.parse({"engine": {"type": "GlobusComputeEngine", "provider": provider}})
    engine = settled.read(config.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    blocks = make_blocks(engine.provider, run_dir=tmp_path, name=NAME, tie=lambda *words: [])
    with pytest.raises(BlockRefusedError, match="kubernetes"):
        blocks.launch("0", "true", Ends().put)


def test_a_job_carries_our_id_and_runs_on_the_nodes_it_was_given(
    tmp_path: Path, jobs: Path
) -> None:
    blocks, ends = slurm(tmp_path, nodes_per_block=2, account="chem"), Ends()
    blocks.launch("5", f"touch {tmp_path}/ran; exit 1", ends.put)
    ends.get(timeout=WAIT_S)
    assert (tmp_path / "ran").exists()
    [script] = [file for file in (tmp_path / "run").iterdir() if file.suffix.strip(".").isdigit()]
    lines = script.read_text().splitlines()
    assert any(line.startswith(f"#SBATCH --job-name=chamberlain.{NAME}.5.") for line in lines)
    assert f"#SBATCH --comment=chamberlain:{NAME}" in lines
    assert {"#SBATCH --no-requeue", "#SBATCH --nodes=2", "#SBATCH --account=chem"} <= set(lines)
    blocks.stop()
