"""Our rules beside those of the public package: equal, or a listed, safer difference.

In every difference that is listed, either we map nobody where the public package maps
somebody, or we read a pattern as the format describes it where the package does not.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.compat.pairs import Pair, make

from chamberlain_endpoint.identity import rules
from chamberlain_wire.assertion import LinkedIdentity
from devtools import public

COUNT = 10_000
SEED = 20261122

pytestmark = pytest.mark.slow

WE_REFUSE = {
    "is no escape": "a backslash before a letter or a digit: a back reference there",
    "nothing to repeat": "(?...) would reach the regular expressions of Python",
    "in several ways": "a backslash that the package reads in another way than it is written",
    "every brace": "a brace that belongs to no reference, or is escaped",
    "is no property": "a reference to a property that no identity has, or to a group by -1",
}
"""Faults that we find when the file is read; the package takes the file."""

WE_MAP_NOBODY = {
    "does not match": "a match covers the whole source: each branch, and no line break behind it",
    "has control characters": "a source with a line break or another control character",
    "took no part in the match": "the branch that covers the source leaves the output's group out",
    "is no user name": "an empty output, or one with control characters",
}
"""Why we map nobody; the package maps somebody."""


@pytest.fixture(scope="module")
def answers() -> list[tuple[Pair, list[str], list[str]]]:
    """Pairs with our answer and the package's."""
    pairs = list(make(COUNT, SEED))
    lines = "".join(json.dumps([pair.rule, pair.identity]) + "\n" for pair in pairs)
    done = subprocess.run(
        [str(public.python()), str(Path(__file__).with_name("public_mapper.py"))],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(theirs) == COUNT
    return [(pair, ours(pair), their) for pair, their in zip(pairs, theirs, strict=True)]


def ours(pair: Pair) -> list[str]:
    """Return our answer in the words of `public_mapper`, with the reason."""
    document = {"DATA_TYPE": rules.EXPRESSION, "mappings": [pair.rule]}
    try:
        steps = rules.parse([document])
    except rules.MappingRefusedError as error:
        return ["refused", str(error)]
    found = [step for step in steps if isinstance(step, rules.Rule)]
    (outcome,) = rules.outcomes(found, (LinkedIdentity(**pair.identity),))
    return ["user", outcome.user_name] if outcome.user_name else ["none", outcome.why_not]


def difference(pair: Pair, our: list[str], their: list[str]) -> str:
    """Return the name of a difference; empty: none. Fails for one that is not listed."""
    if our == their or "user" not in (our[0], their[0]):
        return ""
    if our[0] == "refused":
        return listed(WE_REFUSE, our[1], pair)
    if our[0] == "none":
        return listed(WE_MAP_NOBODY, our[1], pair)
    return listed_mapping(pair, our, their)


def listed(known: dict[str, str], reason: str, pair: Pair) -> str:
    names = [name for name in known if name in reason]
    assert names, (reason, pair)
    return names[0]


def listed_mapping(pair: Pair, our: list[str], their: list[str]) -> str:
    """Return why we map somebody, and the package nobody or somebody else."""
    match = pair.rule["match"]
    values = "".join(value for name, value in pair.identity.items() if name != "id")
    if their[0] == "refused" and not pair.rule.get("literal") and "\\" in match:
        # \" and a letter behind \\ are escapes that the format describes.
        return "a described escape"
    if "{" in values:
        # There, {name} in a person's name is replaced once more.
        return "a brace in a value stands for itself"
    if "|" in match and not pair.rule.get("literal"):
        # There, the first branch wins although it does not reach the end.
        return "the branch that covers the whole source counts"
    raise AssertionError((pair, our, their))


def test_ten_thousand_pairs_are_equal_or_safer(
    answers: list[tuple[Pair, list[str], list[str]]],
) -> None:
    seen = Counter(difference(*each) for each in answers)
    print(f"seed {SEED}: {dict(seen)}")
    assert seen[""] > COUNT * 0.8
    assert len(seen) > 8  # the hostile pairs do their work


def test_the_pairs_are_worth_comparing(answers: list[tuple[Pair, list[str], list[str]]]) -> None:
    both = [our for _, our, their in answers if our[0] == their[0] == "user"]
    nobody = [our for _, our, their in answers if our[0] == their[0] == "none"]
    assert len(both) > COUNT * 0.1
    assert len(nobody) > COUNT * 0.1
    assert all(our[1].isprintable() for our in both)


def test_whoever_is_mapped_by_us_is_covered_by_the_pattern_as_described(
    answers: list[tuple[Pair, list[str], list[str]]],
) -> None:
    mapped: list[dict[str, Any]] = [pair.identity for pair, our, _ in answers if our[0] == "user"]
    assert mapped
    assert {identity["status"] for identity in mapped} == {"used", "private"}
