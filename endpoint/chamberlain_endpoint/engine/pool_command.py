"""The command line of the workers of one node. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from chamberlain_endpoint.engine import lifeline
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.rendered.settled import HtexEngine, MpiEngine

_ANY_CORES: Final = "1e-09"
"""A worker that waits for an MPI launcher needs no core of its own."""


def pool_command(config: HtexEngine, meeting: Meeting, *, block: str, start: Iterable[str]) -> str:
    """Return the shell command that runs the workers of one node of `block`.

    Args:
        start: words that start the worker pool's program.
    """
    is_mpi = isinstance(config, MpiEngine)
    words = [*start]
    if meeting.recall_port:
        lease_s = lifeline.lease_s(meeting.heartbeat_threshold_s)
        words += ["--recall", meeting.recall_url, str(meeting.certificates), f"{lease_s:g}"]
    words += ["--addresses", ",".join(meeting.addresses), "--port", str(meeting.port)]
    words += _options(
        {
            "--block_id": block,
            "--logdir": str(config.worker_logdir_root or meeting.log_dir),
            "--cert_dir": str(meeting.certificates),
            "--hb_period": str(meeting.heartbeat_period_s),
            "--hb_threshold": str(meeting.heartbeat_threshold_s),
            "--cores_per_worker": _ANY_CORES if is_mpi else str(config.cores_per_worker),
            "--mem_per_worker": str(None if is_mpi else config.mem_per_worker),
            "--max_workers_per_node": _optional(_most_workers(config)),
            "--prefetch_capacity": str(config.prefetch_capacity),
            "--drain_period": str(config.drain_period),
            "--address_probe_timeout": _optional(config.address_probe_timeout),
            "--poll": _optional(config.poll_period),
            "--cpu-affinity": config.cpu_affinity,
        }
    )
    if config.worker_debug:
        words.append("--debug")
    if isinstance(config, MpiEngine):
        words += ["--enable_mpi_mode", f"--mpi-launcher={config.mpi_launcher}"]
    accelerators = _accelerators(config)
    if accelerators:
        words += ["--available-accelerators", *accelerators]
    return shlex.join(words)


def workers_per_node(config: HtexEngine, *, cores: int) -> int:
    """Return how many workers a node with `cores` cores will have; what it says later counts."""
    most = max(1, int(cores / config.cores_per_worker))
    if config.max_workers_per_node is not None:
        most = min(most, config.max_workers_per_node)
    accelerators = _accelerators(config)
    return min(most, len(accelerators)) if accelerators else most


def workers_per_block(config: HtexEngine, *, cores: int) -> int:
    """Return how many workers a block will have.

    Args:
        cores: of this host, for nodes of which nothing is known.
    """
    if isinstance(config, MpiEngine):
        return config.max_workers_per_block
    provider = config.provider
    told = getattr(provider, "cores_per_node", None) or getattr(provider, "cores_per_slot", None)
    return provider.nodes_per_block * workers_per_node(config, cores=told or cores)


def blocks_wanted(config: HtexEngine, *, tasks: int, workers: int) -> int:
    """Return how many blocks should be there for `tasks` that wait or run.

    Args:
        workers: of one block.
    """
    provider = config.provider
    needed = -int(-tasks * provider.parallelism // workers)
    # However little parallelism is wanted, a task needs one block.
    return max(provider.min_blocks, min(provider.max_blocks, max(needed, 1 if tasks else 0)))


def _accelerators(config: HtexEngine) -> Sequence[str]:
    given = config.available_accelerators
    return [str(number) for number in range(given)] if isinstance(given, int) else given


def _most_workers(config: HtexEngine) -> int | None:
    # An MPI engine has one pool for all nodes of a block.
    return (
        config.max_workers_per_block
        if isinstance(config, MpiEngine)
        else config.max_workers_per_node
    )


def _optional(value: int | None) -> str | None:
    return None if value is None else str(value)


def _options(values: dict[str, str | None]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items() if value is not None]
