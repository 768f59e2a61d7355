"""What all providers say of their blocks, whichever way a block comes to be."""

from __future__ import annotations

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.launchers import Launcher, SingleNodeLauncher
from chamberlain_endpoint.rendered.words import ShellText, Walltime


class Blocks(Checked):
    """How many blocks, and what runs first on each.

    Attributes:
        init_blocks: asked for at the start.
        min_blocks: never fewer.
        max_blocks: never more.
        nodes_per_block: nodes of one block.
        parallelism: blocks per task that waits, between 0 (as few as possible) and 1.
        worker_init: shell text of the site's that runs before the workers of each block.
    """

    init_blocks: NonNegativeInt = 1
    min_blocks: NonNegativeInt = 0
    max_blocks: PositiveInt = 1
    nodes_per_block: PositiveInt = 1
    parallelism: float = Field(default=1.0, ge=0.0, le=1.0)
    worker_init: ShellText = ""

    @model_validator(mode="after")
    def _blocks_in_order(self) -> Self:
        if not self.min_blocks <= self.max_blocks:
            raise ValueError(
                f"min_blocks ({self.min_blocks}) is more than max_blocks ({self.max_blocks})"
            )
        if not self.init_blocks <= self.max_blocks:
            raise ValueError(
                f"init_blocks ({self.init_blocks}) is more than max_blocks ({self.max_blocks})"
            )
        return self


class Batch(Blocks):
    """Blocks are jobs of a scheduler.

    Attributes:
        walltime: the scheduler ends a job after it; hours:minutes:seconds.
        cmd_timeout: seconds that a command of the scheduler may take.
        launcher: what starts the workers on the nodes of a job.
    """

    walltime: Walltime = "00:10:00"
    cmd_timeout: PositiveInt = 60
    launcher: Launcher = SingleNodeLauncher()
