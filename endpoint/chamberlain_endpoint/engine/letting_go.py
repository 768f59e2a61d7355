"""Lets blocks go that nobody needs: first they get no more tasks, then their jobs end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from chamberlain_endpoint.engine.fleet import Fleet
from chamberlain_endpoint.rendered.settled import HtexEngine
from chamberlain_endpoint.scheduler.port import Blocks

if TYPE_CHECKING:
    from chamberlain_endpoint.engine.parsl_engine import Interchange

log = logging.getLogger(__name__)


def let_go(
    config: HtexEngine, fleet: Fleet, interchange: Interchange, blocks: Blocks, *, busy: bool
) -> None:
    """Hold the blocks that have been idle for too long, and end those that have no task left.

    Args:
        busy: tasks wait or run somewhere.

    Raises:
        EngineStartError: the interchange does not answer.
    """
    rules = config.job_status_kwargs
    strategy = config.strategy or rules.strategy
    if strategy == "htex_auto_scale" or (strategy == "simple" and not busy):
        keep = config.provider.min_blocks
        for block in fleet.idle(longer_than_s=rules.max_idletime, keep=keep):
            for pool in fleet.retire(block):
                interchange.hold(pool.name)
        # A task may have come to it before it was held.
        fleet.see(interchange.pools())
    for block in fleet.retired():
        log.info("idle block ended", extra={"event": "block.released", "job": block})
        blocks.cancel(block)
