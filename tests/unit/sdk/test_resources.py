"""What no engine would take is refused before anything is sent, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from chamberlain.errors import InvalidRequestError, SerializationError
from chamberlain.resources import check_mpi, check_resources, strategy_names


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"num_nodes": 2, "ranks_per_node": 4},
        {"num_nodes": 2, "num_ranks": 8, "ranks_per_node": 4},
        {"num_ranks": 8, "launcher_options": "--bind-to core"},
        {"priority": -3},
    ],
)
def test_what_engines_know_is_taken(given: dict[str, Any] | None) -> None:
    check_resources(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"num_node": 1}, "has the key 'num_node'; did you mean 'num_nodes'?"),
        ({"gpus": 1}, "has the key 'gpus'; known are num_nodes, "),
        ({"num_nodes": 0}, "num_nodes is 0; it must be 1 or more"),
        ({"num_nodes": "2"}, "num_nodes is '2'; it must be a whole number"),
        ({"num_ranks": True}, "num_ranks is True; it must be a whole number"),
        ({"launcher_options": ["-v"]}, "launcher_options is ['-v']; it must be text"),
        ({"num_nodes": 2, "ranks_per_node": 2, "num_ranks": 5}, "2 times ranks_per_node 2 is 4"),
        ({"num_nodes": 2, "num_ranks": 5}, "which 2 nodes (num_nodes) cannot share evenly"),
    ],
)
def test_what_no_engine_knows_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_resources(given)
    assert caught.value.public.startswith("resource_specification ")
    assert told in caught.value.public


def test_mpi_needs_a_number_of_ranks() -> None:
    check_mpi({"num_ranks": 1})
    for given in (None, {}, {"priority": 1}):
        with pytest.raises(InvalidRequestError, match="how many ranks"):
            check_mpi(given)


def test_strategies_are_named_so_that_public_workers_find_them() -> None:
    path = "globus_compute_sdk.serialize.concretes.JSONData"
    assert strategy_names(["JSONData", path]) == (path, path)
    with pytest.raises(SerializationError, match=r"'Jsondata' is no .*Use one of: .*JSONData"):
        strategy_names(["Jsondata"])
    with pytest.raises(SerializationError, match="must be a list of names"):
        strategy_names("JSONData")
