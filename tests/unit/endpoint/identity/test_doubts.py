"""What is said of rules that work, but perhaps not as they are meant."""

from __future__ import annotations

from typing import Any

import pytest

from chamberlain_endpoint.identity import doubts, rules

DENIED = ("root", "nobody", "root")


def found(match: str, output: str = "lab", **more: Any) -> tuple[str, ...]:
    entry = {"source": "{username}", "match": match, "output": output, **more}
    steps = rules.parse([{"DATA_TYPE": rules.EXPRESSION, "mappings": [entry]}])
    return doubts.find(steps, DENIED)


@pytest.mark.parametrize(
    "match", ["(.*)@cs.uni.edu", r"(.*)@cs\.uni.edu", r"(a|b)@x.edu|c@y\.edu", "a@b.c"]
)
def test_an_open_dot_in_the_domain_is_told(match: str) -> None:
    (doubt,) = found(match)
    assert "stands for any character" in doubt


def test_the_sentence_shows_what_else_would_match() -> None:
    assert "cs.uni.edu also matches cs-uni-edu" in found("(.*)@cs.uni.edu")[0]


@pytest.mark.parametrize(
    ("match", "more"),
    [
        (r"(.*)@cs\.uni\.edu", {}),
        (r"a.b@cs\.uni\.edu", {}),
        (r"(.*)@.*\.uni\.edu", {}),
        ("a@cs.uni.edu", {"literal": True}),
        ("5c8a4f0e", {"source": "{id}"}),
    ],
)
def test_what_is_meant_so_raises_no_doubt(match: str, more: dict[str, Any]) -> None:
    assert found(match, **more) == ()


@pytest.mark.parametrize(
    ("match", "output", "more"),
    [
        (r"(.*)@x", "{0}", {}),
        (r"(a|b|.*)@x", "{0}", {}),
        (r"(.*)@y|(.*)@x", "{1}", {}),
        (r".*@x", "root", {}),
        (r"a?(.*)b*@x", "{0}", {}),
        (r"(.*)@x", "{name}", {}),
        (r".*", "{username}", {}),
        (r"(.*)@x", "{0}", {"ignore_case": True}),
        (r"admin@x", "root", {"literal": True}),
        (r"((.*))@x", "{1}", {}),
    ],
)
def test_a_rule_that_can_reach_a_denied_account_is_told(
    match: str, output: str, more: dict[str, Any]
) -> None:
    (doubt,) = found(match, output, **more)
    assert "becomes root" in doubt


@pytest.mark.parametrize(
    ("match", "output"), [(r"(.*)@x", "hpc-{0}"), (r"(alice|bob)@x", "{0}"), (r"(u.*)@x", "{0}")]
)
def test_a_rule_that_cannot_reach_one_is_not(match: str, output: str) -> None:
    assert found(match, output) == ()


@pytest.mark.parametrize("match", ["alice@x\n", "alice@x|\nroot@x", "alice\t@x"])
def test_a_line_break_in_a_rule_is_told(match: str) -> None:
    assert "will never match" in found(match)[0]


@pytest.mark.parametrize("match", ["^alice@x", "alice@x$"])
def test_an_anchor_that_is_none_is_told(match: str) -> None:
    assert "stand for themselves" in found(match)[0]
