"""What an engine knows of its blocks: which start, which work, which are let go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chamberlain_endpoint.rendered.settled import HtexEngine


@dataclass(frozen=True, slots=True)
class Pool:
    """The workers of one node that are connected.

    Attributes:
        usable: it gets tasks: neither held nor draining.
        idle_s: how long it has had no task.
        versions: of Python and Parsl there.
    """

    name: str
    block: str
    workers: int
    tasks: int
    usable: bool
    idle_s: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Block:
    connected: bool = False
    retiring: bool = False


class Fleet:
    """The blocks that were launched and have not ended. One thread."""

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}
        self.pools: tuple[Pool, ...] = ()
        self._next = 0
        self._homes: dict[str, str] = {}
        self._causes: dict[str, str] = {}

    @property
    def count(self) -> int:
        """Blocks that work or will."""
        return sum(not block.retiring for block in self._blocks.values())

    @property
    def names(self) -> list[str]:
        """All blocks that have not ended."""
        return list(self._blocks)

    @property
    def starting(self) -> bool:
        """Whether a block has not connected yet."""
        return any(not block.connected for block in self._blocks.values())

    @property
    def workers(self) -> int:
        """Workers that get tasks."""
        return sum(pool.workers for pool in self.pools if self._counts(pool))

    def new_block(self, *, again: str | None = None) -> str:
        """Return the name of a block that is about to be launched.

        Args:
            again: the name of one whose launch was not answered.
        """
        name = again or str(self._next)
        self._next += again is None
        self._blocks[name] = _Block()
        return name

    def see(self, pools: Iterable[Pool]) -> None:
        """Take note of the pools that are connected."""
        self.pools = tuple(pools)
        for pool in self.pools:
            block = self._blocks.get(pool.block)
            if block is not None:
                block.connected = True
                self._homes[pool.name] = pool.block

    @property
    def unconnected(self) -> list[str]:
        """Blocks that have not connected yet."""
        return [name for name, block in self._blocks.items() if not block.connected]

    def cause(self, pool: str) -> str:
        """Return why the block of this pool ended; empty when that is not known. Any thread."""
        return self._causes.get(self._homes.get(pool, ""), "")

    def end(self, name: str, cause: str = "") -> bool | None:
        """Forget a block; tell whether it was of use before, or None when we let it go.

        Args:
            cause: a sentence for who had a task there.
        """
        self._causes[name] = cause
        block = self._blocks.pop(name, None)
        if block is None or block.retiring:
            return None
        return block.connected

    def works(self) -> bool:
        """Tell whether any block is connected."""
        return any(block.connected for block in self._blocks.values())

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()
        self.pools = ()

    def idle(self, *, longer_than_s: float, keep: int) -> list[str]:
        """Return the blocks to let go: idle for so long, the longest first, `keep` remain."""
        idle: list[tuple[float, str]] = []
        for name, block in self._blocks.items():
            pools = [pool for pool in self.pools if pool.block == name]
            if block.connected and not block.retiring and _is_idle(pools, longer_than_s):
                idle.append((-min(pool.idle_s for pool in pools), name))
        return [name for _, name in sorted(idle)[: max(0, self.count - keep)]]

    def retire(self, name: str) -> list[Pool]:
        """Count a block as let go; return its pools, which must get no more tasks."""
        self._blocks[name].retiring = True
        return [pool for pool in self.pools if pool.block == name]

    def retired(self) -> list[str]:
        """Return the blocks that were let go and have no task any more: end them."""
        return [
            name
            for name, block in self._blocks.items()
            if block.retiring and not any(p.tasks for p in self.pools if p.block == name)
        ]

    def _counts(self, pool: Pool) -> bool:
        block = self._blocks.get(pool.block)
        return pool.usable and block is not None and not block.retiring


def _is_idle(pools: Sequence[Pool], longer_than_s: float) -> bool:
    return bool(pools) and all(pool.tasks == 0 and pool.idle_s > longer_than_s for pool in pools)


def describe(
    config: HtexEngine, pools: Sequence[Pool], *, workers_per_node: int
) -> dict[str, object]:
    """Return the fields of the public heartbeat that tell of blocks and their workers."""
    provider = config.provider
    nodes: dict[str, list[dict[str, object]]] = {}
    for pool in pools:
        entry = {"pool": pool.name, "workers": pool.workers, **pool.versions}
        nodes.setdefault(pool.block, []).append(entry)
    return {
        "engine_type": config.type,
        "provider_type": provider.type,
        "managers": len(pools),
        "active_managers": sum(pool.usable for pool in pools),
        "scaling_enabled": True,
        "min_blocks": provider.min_blocks,
        "max_blocks": provider.max_blocks,
        "nodes_per_block": provider.nodes_per_block,
        "max_workers_per_node": workers_per_node,
        "mem_per_worker": config.mem_per_worker,
        "cores_per_worker": config.cores_per_worker,
        "prefetch_capacity": config.prefetch_capacity,
        "node_info": nodes,
    }
