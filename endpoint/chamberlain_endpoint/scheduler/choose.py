"""From a provider's configuration to the blocks that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chamberlain_endpoint.rendered.settled_nodes import (
    BatchProvider,
    CloudProvider,
    LocalProvider,
    Provider,
)
from chamberlain_endpoint.scheduler.port import Blocks


def make_blocks(
    config: Provider, *, run_dir: Path, name: str, tie: Callable[..., list[str]]
) -> Blocks:
    """Return what starts the blocks of `config`; nothing is started, and no Parsl loaded.

    Args:
        run_dir: for scripts and what they print. With a scheduler, jobs must see it as well.
        name: id of the user endpoint, which jobs carry.
        tie: see `local.LocalBlocks`.
    """
    if isinstance(config, LocalProvider):
        from chamberlain_endpoint.scheduler.local import LocalBlocks

        return LocalBlocks(config, run_dir=run_dir, tie=tie)
    return _noted(config, run_dir=run_dir, name=name)


def _noted(config: BatchProvider | CloudProvider, *, run_dir: Path, name: str) -> Blocks:
    from chamberlain_endpoint.scheduler import job_notes
    from chamberlain_endpoint.scheduler.batch import BatchBlocks
    from chamberlain_endpoint.scheduler.noted import NotedBlocks, NotedProvider

    folder = job_notes.place(name)
    notes = job_notes.JobNotes(folder, config.type, str(getattr(config, "clusters", None) or ""))
    # Names that only this life of the user endpoint gives: another one's are never ended.
    signature = f"{name}.{notes.generation}"

    def make() -> NotedProvider:
        from chamberlain_endpoint.scheduler.parsl_nodes import make_provider

        return NotedProvider(make_provider(config, name=signature, script_dir=run_dir), notes)

    blocks = BatchBlocks(config, run_dir=run_dir, name=signature, make=make)
    return NotedBlocks(blocks, notes, folder, name)


def is_elsewhere(config: Provider) -> bool:
    """Tell whether blocks run on other hosts than the user endpoint."""
    return not isinstance(config, LocalProvider)
