"""What a caller's resource specification may ask of an engine on Parsl. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from chamberlain_endpoint.engine.port import JobRefusedError
from chamberlain_endpoint.rendered.settled import HtexEngine, MpiEngine

_OF_MPI: Final = ("num_nodes", "num_ranks", "ranks_per_node")
_OPTIONS: Final = "launcher_options"
_VALUE: Final = re.compile(r"[A-Za-z0-9_.,:=+/@%][A-Za-z0-9_.,:=+/@%-]*")
"""What a shell leaves as it is, and no launcher takes for an option."""


def checked_resources(config: HtexEngine, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the specification as the workers want it.

    Raises:
        JobRefusedError: it has keys or values that this engine does not know.
    """
    is_mpi = isinstance(config, MpiEngine)
    known = ("priority", *_OF_MPI, _OPTIONS) if is_mpi else ("priority",)
    asked = dict(given or {})
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise JobRefusedError(
            public=f"{config.type} takes no {', '.join(unknown)} in a resource "
            f"specification; it takes {', '.join(known)}."
        )
    if isinstance(config, MpiEngine):
        _complete(asked)
        there = config.provider.nodes_per_block
        if asked["num_nodes"] > there:
            raise JobRefusedError(public=too_many_nodes(asked["num_nodes"], there))
        asked[_OPTIONS] = launcher_options(
            asked.get(_OPTIONS), allowed=config.allowed_launcher_options
        )
        if not asked[_OPTIONS]:
            del asked[_OPTIONS]
    return asked or None


def launcher_options(given: Any, *, allowed: Sequence[str]) -> str:
    """Return a caller's options of the MPI launcher, which become part of a command line.

    Args:
        allowed: see `engines.MpiEngine`.

    Raises:
        JobRefusedError: one is not allowed, or has a character that a shell would read.
    """
    words = given.split() if isinstance(given, str) else [] if given is None else [repr(given)]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, is_set, value = word.partition("=")
        if word in allowed and "*" not in word:
            continue
        if is_set and f"{name}=*" in allowed and _VALUE.fullmatch(value):
            continue
        if f"{word} *" in allowed and rest and _VALUE.fullmatch(rest[0]):
            rest.pop(0)
            continue
        raise JobRefusedError(
            public=f"launcher_options: {word[:60]!r} is not possible at this endpoint; "
            + (f"possible are: {', '.join(allowed)}." if allowed else "it allows none.")
        )
    return " ".join(words)


def too_many_nodes(asked: int, there: int) -> str:
    """Return the sentence for a task that asks for more nodes than a block has."""
    return (
        f"The task asks for {asked} nodes (num_nodes), and a block of this endpoint has {there} "
        f"(nodes_per_block): it could never run. Ask for {there} or fewer."
    )


def _complete(asked: dict[str, Any]) -> None:
    """Work out nodes, ranks, and ranks a node from each other."""
    for key in _OF_MPI:
        if key in asked:
            asked[key] = _count(key, asked[key])
    nodes = asked.setdefault("num_nodes", 1)
    if "ranks_per_node" in asked:
        ranks = nodes * asked["ranks_per_node"]
        if asked.setdefault("num_ranks", ranks) != ranks:
            raise JobRefusedError(
                public=f"num_ranks is {asked['num_ranks']}, but num_nodes ({nodes}) times "
                f"ranks_per_node ({asked['ranks_per_node']}) is {ranks}: give two of the three."
            )
    elif "num_ranks" in asked:
        if asked["num_ranks"] % nodes:
            raise JobRefusedError(
                public=f"num_ranks ({asked['num_ranks']}) is no multiple of num_nodes ({nodes})."
            )
        asked["ranks_per_node"] = asked["num_ranks"] // nodes
    else:
        asked |= {"ranks_per_node": 1, "num_ranks": nodes}


def _count(key: str, value: Any) -> int:
    try:
        count = int(str(value))
    except ValueError:
        count = 0
    if count < 1:
        raise JobRefusedError(public=f"{key} must be a number of 1 or more, not {value!r:.60}.")
    return count
