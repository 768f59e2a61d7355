"""Lists of allowed functions: how entries are read, and what two lists allow together."""

from __future__ import annotations

import pytest

from chamberlain_wire import strategy_names
from chamberlain_wire.allowed import (
    AllowedInvalidError,
    AllowList,
    canonical,
    function_sha256,
    is_one_part,
    listed_ids,
    narrowed,
    sha256_of,
)
from chamberlain_wire.errors import InvalidMessageError, SerializationError
from chamberlain_wire.serialize.strategies import STRATEGIES

ONE, TWO = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4", "1e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (ONE, ONE),
        (ONE.upper(), ONE),
        (f"sha256:{A.upper()}", f"sha256:{A}"),
        ({"id": ONE, "sha256": A}, f"{ONE}@sha256:{A}"),
        (f"{ONE}@sha256:{A}", f"{ONE}@sha256:{A}"),
    ],
)
def test_an_entry_has_one_form(entry: object, text: str) -> None:
    assert canonical(entry) == text
    assert canonical(text) == text


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "double",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "g" * 64,
        {"id": ONE},
        {"sha256": A},
        {"id": "", "sha256": A},
        {"id": ONE, "sha256": ""},
        {"id": ONE, "sha256": A, "name": "x"},
        f"{ONE}@sha256:",
        f"@sha256:{A}",
        None,
        7,
        [ONE],
    ],
)
def test_what_is_no_entry_is_refused(entry: object) -> None:
    with pytest.raises(AllowedInvalidError):
        canonical(entry)


@pytest.mark.parametrize(
    ("entries", "function", "sha256", "permitted"),
    [
        ([ONE], ONE, A, True),
        ([ONE], ONE, "", True),
        ([ONE], TWO, A, False),
        ([f"{ONE}@sha256:{A}"], ONE, A, True),
        ([f"{ONE}@sha256:{A}"], ONE, B, False),
        ([f"{ONE}@sha256:{A}"], ONE, "", False),
        ([f"{ONE}@sha256:{A}"], TWO, A, False),
        ([f"{ONE}@sha256:{A}", f"{ONE}@sha256:{B}"], ONE, B, True),
        ([f"sha256:{A}"], TWO, A, True),
        ([f"sha256:{A}"], TWO, B, False),
        ([f"sha256:{A}"], TWO, "", False),
        ([], ONE, A, False),
        ([], "", "", False),
    ],
)
def test_who_is_permitted(entries: list[str], function: str, sha256: str, permitted: bool) -> None:
    assert AllowList(entries).permits(function, sha256) is permitted


def test_two_lists_allow_what_both_allow() -> None:
    every = [ONE, TWO, f"{ONE}@sha256:{A}", f"{ONE}@sha256:{B}", f"sha256:{A}", f"sha256:{B}"]
    for site in ([], *([one] for one in every), every[:2], every[2:]):
        for template in ([], *([one] for one in every), every[1:4]):
            both = AllowList(narrowed(site, template))
            for function in (ONE, TWO):
                for sha256 in (A, B):
                    wanted = all(
                        AllowList(one).permits(function, sha256) for one in (site, template)
                    )
                    assert both.permits(function, sha256) is wanted, (site, template)
    assert narrowed([ONE], None) == [ONE]


def test_the_public_clients_see_ids() -> None:
    assert listed_ids([ONE, f"{ONE}@sha256:{A}", f"sha256:{B}", TWO]) == [ONE, TWO]


@pytest.mark.parametrize(
    ("code", "good"),
    [
        ("4\n01\nf", True),
        ("04\n01\nf", True),
        ("5\n01\nf", False),
        ("3\n01\nf", False),
        ("", False),
        ("x", False),
        ("\u0664\n01\nf", False),
        ("-4\n01\nf", False),
        ("4\n01\nf4\n01\nf", False),
    ],
)
def test_code_is_one_part(code: str, good: bool) -> None:
    assert is_one_part(code) is good


def test_the_hash_is_of_the_part_in_front() -> None:
    assert function_sha256("4\n01\nf" + "rest") == sha256_of("4\n01\nf")
    for broken in ("", "5\n01\nf", "no length"):
        with pytest.raises(InvalidMessageError):
            function_sha256(broken)


def test_the_names_are_those_of_the_strategies() -> None:
    assert tuple(one.name for one in STRATEGIES if one.for_code) == strategy_names.CODE
    assert tuple(one.name for one in STRATEGIES if not one.for_code) == strategy_names.DATA


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["globus_compute_sdk.*Code", "globus_compute_sdk.*Data"], 11),
        (["*Code", ".*Data"], 11),
        (["DillCode", "a.b.JSONData"], 2),
        (["*Code", "JSONData"], 9),
    ],
)
def test_wildcards_stand_for_all_of_a_kind(names: list[str], count: int) -> None:
    assert len(strategy_names.allowed(names)) == count


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["JSONData"], "at least one strategy for functions"),
        (["DillCode"], "one for data"),
        ([], "it has none"),
        (["DilCode", "JSONData"], "Use one of: DillCode"),
        (["*", "JSONData"], "Use one of"),
    ],
)
def test_a_list_that_reads_nothing_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(SerializationError, match=said):
        strategy_names.allowed(names)
