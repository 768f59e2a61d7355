"""What a task may ask for, and the serializers that may be named: checked before anything goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import inf
from typing import Any, Final

from chamberlain.errors import InvalidRequestError
from chamberlain_wire.errors import SerializationError
from chamberlain_wire.serialize.packing import strategy

_COUNTS: Final = ("num_nodes", "ranks_per_node", "num_ranks")
_TIMEOUT: Final = "task_timeout_s"
_KEYS: Final = (*_COUNTS, "launcher_options", "priority", _TIMEOUT)


def check_resources(given: Mapping[str, Any] | None) -> None:
    """Refuse a resource specification that no engine would take.

    Raises:
        InvalidRequestError: the text names the key and what it may be.
    """
    if given is None:
        return
    for key, value in given.items():
        if key not in _KEYS:
            near = get_close_matches(str(key), _KEYS, 1)
            _refuse(
                f"has the key {key!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}.")
            )
        _check_value(key, value)
    nodes, per_node, ranks = (given.get(key) for key in _COUNTS)
    if nodes and per_node and ranks and nodes * per_node != ranks:
        _refuse(
            f"says num_ranks {ranks}, but num_nodes {nodes} times ranks_per_node {per_node} "
            f"is {nodes * per_node}. Give two of the three."
        )
    if nodes and ranks and ranks % nodes:
        _refuse(f"says num_ranks {ranks}, which {nodes} nodes (num_nodes) cannot share evenly.")


def _check_value(key: str, value: Any) -> None:
    if key == _TIMEOUT:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            _refuse(f"{key} is {value!r}; it must be a number of seconds above 0.")
    elif key == "launcher_options":
        if not isinstance(value, str):
            _refuse(f"{key} is {value!r}; it must be text, such as '--bind-to core'.")
    elif isinstance(value, bool) or not isinstance(value, int):
        _refuse(f"{key} is {value!r}; it must be a whole number.")
    elif key in _COUNTS and value < 1:
        _refuse(f"{key} is {value}; it must be 1 or more.")


def check_mpi(given: Mapping[str, Any] | None) -> None:
    """Refuse to send an `MPIFunction` that says nothing of its ranks.

    Raises:
        InvalidRequestError: the text shows what to set.
    """
    if not given or not any(key in given for key in _COUNTS):
        raise InvalidRequestError(
            public="An MPIFunction needs to know how many ranks it has: set "
            'executor.resource_specification = {"num_nodes": 2, "ranks_per_node": 4} before.'
        )


def strategy_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the strategies that `result_serializers` lists, as they travel.

    Raises:
        SerializationError: one is unknown; the text lists those that are known.
    """
    if isinstance(given, str):
        raise SerializationError(
            public=f"result_serializers is the text {given!r}; it must be a list of names."
        )
    return tuple(f"{_PUBLIC}.{strategy(str(name)).name}" for name in given)


def _refuse(text: str) -> None:
    raise InvalidRequestError(public=f"resource_specification {text}")


_PUBLIC: Final = "globus_compute_sdk.serialize.concretes"
