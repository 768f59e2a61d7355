"""What a caller's resource specification may ask of an engine on Parsl. Pure."""

from __future__ import annotations

from typing import Any, Final

from chamberlain_endpoint.engine.port import JobRefusedError
from chamberlain_endpoint.rendered.settled import HtexEngine, MpiEngine

_OF_MPI: Final = ("num_nodes", "num_ranks", "ranks_per_node")


def checked_resources(config: HtexEngine, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the specification as the workers want it.

    Raises:
        JobRefusedError: it has keys or values that this engine does not know.
    """
    is_mpi = isinstance(config, MpiEngine)
    known = ("priority", *_OF_MPI, "launcher_options") if is_mpi else ("priority",)
    asked = dict(given or {})
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise JobRefusedError(
            public=f"{config.type} takes no {', '.join(unknown)} in a resource "
            f"specification; it takes {', '.join(known)}."
        )
    if is_mpi:
        _complete(asked)
    return asked or None


def _complete(asked: dict[str, Any]) -> None:
    """Work out nodes, ranks, and ranks a node from each other."""
    for key in _OF_MPI:
        if key in asked:
            asked[key] = _count(key, asked[key])
    nodes = asked.setdefault("num_nodes", 1)
    if "ranks_per_node" in asked:
        asked.setdefault("num_ranks", nodes * asked["ranks_per_node"])
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
