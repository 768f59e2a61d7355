"""Which ids of the host a container knows. Pure.

The account's own uid, and each of its groups, stand for themselves. Every other id that the
container can name, root's first of all, stands for one of the account's subordinate ids: an
id of the host that belongs to nobody. Maps are explicit and the same at each start of the
same account: what the engine chooses by itself changes with the order of starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

IDS: Final = 65536
"""How many ids, from 0 on, a container can name beside the account's own."""


class Extent(NamedTuple):
    """A run of ids: `size` ids from `inside` on stand for those of the host from `outside` on."""

    inside: int
    outside: int
    size: int


def extents(own: Iterable[int], base: int) -> tuple[Extent, ...]:
    """Return a map in which each of `own` stands for itself and all else for what `base` begins.

    Args:
        own: ids of the host that the container may be, or be in.
        base: first of the `IDS` subordinate ids.

    Raises:
        ValueError: 0 is among `own`, or one of them among the subordinate ids.
    """
    kept = sorted(set(own))
    if kept and kept[0] <= 0:
        raise ValueError("root must not stand for itself")
    if any(base <= each < base + IDS for each in kept):
        raise ValueError("an id of the account is among its subordinate ids")
    found: list[Extent] = []
    begin = 0
    for each in kept:
        if begin < min(each, IDS):
            found.append(Extent(begin, base + begin, min(each, IDS) - begin))
        found.append(Extent(each, each, 1))
        begin = each + 1
    if begin < IDS:
        found.append(Extent(begin, base + begin, IDS - begin))
    return tuple(found)


def parse(text: str) -> tuple[Extent, ...]:
    """Return the map that the kernel shows in `/proc/PID/uid_map` or `gid_map`."""
    rows = (line.split() for line in text.splitlines())
    return tuple(sorted(Extent(*map(int, row)) for row in rows if row))


def fault_of(
    seen: tuple[Extent, ...], own: Iterable[int], wanted: tuple[Extent, ...] | None
) -> str:
    """Return what is wrong with a container's map; empty when it may run.

    Args:
        own: the ids that must stand for themselves.
        wanted: what was asked for; None: the engine chooses, and only what hurts is refused.
    """
    kept = set(own)
    if wanted is not None and seen != tuple(sorted(wanted)):
        return f"the engine made the map {_text(seen)}, not {_text(wanted)}"
    if any(each.inside <= 0 < each.inside + each.size and each.outside == 0 for each in seen):
        return "root of the container is root of the host"
    for each in kept:
        if not any(
            extent.inside <= each < extent.inside + extent.size
            and extent.outside - extent.inside == 0
            for extent in seen
        ):
            return f"id {each} does not stand for itself"
    return ""


def _text(extents_: tuple[Extent, ...]) -> str:
    return ", ".join(f"{each.inside}:{each.outside}:{each.size}" for each in extents_)
