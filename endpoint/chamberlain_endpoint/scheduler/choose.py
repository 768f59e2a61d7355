"""From a provider's configuration to the blocks that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chamberlain_endpoint.rendered.settled_nodes import LocalProvider, Provider
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
    from chamberlain_endpoint.scheduler.batch import BatchBlocks

    return BatchBlocks(config, run_dir=run_dir, name=name)


def is_elsewhere(config: Provider) -> bool:
    """Tell whether blocks run on other hosts than the user endpoint."""
    return not isinstance(config, LocalProvider)
