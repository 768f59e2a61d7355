"""The mapping rules, case by case."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.launcher_builders import ALICE

from chamberlain_endpoint.identity import rules
from chamberlain_wire.assertion import LinkedIdentity


def document(*entries: dict[str, Any], kind: str = rules.EXPRESSION) -> list[dict[str, Any]]:
    return [{"DATA_TYPE": kind, "mappings": list(entries)}]


def rule(
    match: str, output: str = "{0}", source: str = "{username}", **more: Any
) -> dict[str, Any]:
    return {"source": source, "match": match, "output": output, **more}


def mapped(entry: dict[str, Any], username: str, **changes: Any) -> str:
    """Return the local user name, or an empty text."""
    identity = LinkedIdentity(id=ALICE, username=username, **changes)
    (found,) = rules.parse(document(entry))
    (outcome,) = rules.outcomes([found], (identity,))
    assert bool(outcome.user_name) != bool(outcome.why_not)
    return outcome.user_name


@pytest.mark.parametrize(
    ("match", "output", "username", "user_name"),
    [
        (r"(.*)@example\.edu", "{0}", "alice@example.edu", "alice"),
        (r"(.*)@example\.edu", "{0}", "alice@example_edu", ""),
        (r"(.*)@example\.edu", "{0}", "alice@EXAMPLE.edu", ""),
        # A dot is any character, as the format has it.
        (r"(.*)@cs.example\.edu", "{0}", "alice@cs-example.edu", "alice"),
        (r"(alice|bob)@example\.org", "lab", "bob@example.org", "lab"),
        (r"(a.*)\.(.*)@x", "{1}{0}", "anne.smith@x", "smithanne"),
        (r"alice@x", "{id}", "alice@x", ALICE),
        # A group that took no part in the match is no user name; not even an empty one.
        (r"(a)?b@x", "u{0}", "ab@x", "ua"),
        (r"(a)?b@x", "u{0}", "b@x", ""),
        (r"(a)?(b)@x", "u{1}", "b@x", "ub"),
        # Nothing stands before or behind a match, whichever branch it takes.
        ("alice@x|bob@x", "lab", "alice@x.evil.org", ""),
        ("alice@x|bob@x", "lab", "evil.bob@x", ""),
        ("(.*)@x", "{0}", "alice@x\n", ""),
        ("(.*)@x", "{0}", "root\nalice@x", ""),
        ("(.*)@x", "lab", "a\tb@x", ""),
        # What is special elsewhere stands for itself here.
        ("a+b@x", "lab", "a+b@x", "lab"),
        ("a+b@x", "lab", "aab@x", ""),
        ("[ab]@x", "lab", "a@x", ""),
        ("^(.*)@x$", "{0}", "alice@x", ""),
        (r"a\*b\?\(c\)\|\\@x", "lab", r"a*b?(c)|\@x", "lab"),
    ],
)
def test_a_rule_maps_what_it_covers_and_nothing_else(
    match: str, output: str, username: str, user_name: str
) -> None:
    assert mapped(rule(match, output), username) == user_name


def test_letters_of_either_case_match_when_the_rule_says_so() -> None:
    assert mapped(rule(r"(.*)@example\.edu", ignore_case=True), "Al@EXAMPLE.edu") == "Al"


def test_a_literal_rule_means_every_character_as_it_stands() -> None:
    entry = rule("a.b@x", "lab", literal=True)
    assert mapped(entry, "a.b@x") == "lab"
    assert mapped(entry, "aXb@x") == ""


def test_every_property_of_an_identity_can_be_a_source() -> None:
    entry = rule("(.*)/(.*)", "{1}", source="{email}/{name}")
    assert mapped(entry, "a@x", email="e", name="n") == "n"


def test_a_reference_inside_a_value_is_not_followed() -> None:
    assert mapped(rule("(.*)@x", "{0}{name}"), "{name}@x", name="!") == "{name}!"


@pytest.mark.parametrize(
    ("status", "user_name"), [("used", "a"), ("private", "a"), ("unused", ""), ("closed", "")]
)
def test_only_identities_in_use_are_considered(status: str, user_name: str) -> None:
    assert mapped(rule("(.*)@x"), "a@x", status=status) == user_name


def test_rules_come_before_identities() -> None:
    identities = (LinkedIdentity(id="1", username="a@x"), LinkedIdentity(id="2", username="b@y"))
    found = rules.parse(document(rule("(.*)@y"), rule("(.*)@x")))
    told = [(each.identity.id, each.user_name) for each in rules.outcomes(found, identities)]
    assert told == [("1", ""), ("2", "b"), ("1", "a"), ("2", "")]


def test_the_explanation_says_why_a_rule_does_not_match() -> None:
    (found,) = rules.parse(document(rule("(.*)@x")))
    (outcome,) = rules.outcomes([found], (LinkedIdentity(id="1", username="a@y"),))
    assert outcome.why_not == "'a@y' does not match"
    assert outcome.rule.label.startswith("document 1, rule 1 (")


@pytest.mark.parametrize(
    ("documents", "fault"),
    [
        ({}, "is a JSON list"),
        ([], "no rule"),
        ([1], "DATA_TYPE must be"),
        (document(kind="expression_identity_mapping#2.0.0"), "DATA_TYPE must be"),
        ([{"DATA_TYPE": rules.EXTERNAL, "command": ["x"]}], "absolute path"),
        ([{"DATA_TYPE": rules.EXTERNAL, "command": "/x"}], "must be a list"),
        ([{"DATA_TYPE": rules.EXTERNAL, "command": []}], "must be a list"),
        ([{"DATA_TYPE": rules.EXTERNAL, "command": ["/x", None]}], "texts and numbers only"),
        ([{"DATA_TYPE": rules.EXTERNAL, "command": ["/x"], "comand": 1}], "did you mean"),
        (document(rule("x", "lab{")), "every brace"),
        (document(rule("(x)", r"\{0}")), "every brace"),
        (document(rule("a" * 1025, "lab")), "more than 1024"),
        (document(*[rule("a", "lab")] * 4001), "4000 is the limit"),
        (document(rule(r"a\.b", "lab", literal=True)), "in several ways"),
        (document(rule(r"a\\+b", "lab")), "in several ways"),
        ([{"DATA_TYPE": rules.EXPRESSION}], "mappings must be a list"),
        (document(1), "must be an object"),  # type: ignore[arg-type]
        (document({"source": "{username}", "match": "x"}), "output must be a text"),
        (document(rule("x", "lab", ignore_cas=True)), "did you mean ignore_case?"),
        (document(rule("x", "lab", literal=1)), "literal must be true or false"),
        (document(rule("x", "lab", source="{usrname}")), "did you mean {username}?"),
        (document(rule("(x)", "{1}")), "there are 1 groups"),
        (document(rule("x", "{0}", literal=True)), "there are 0 groups"),
        (document(rule("x", "lab", source="{0}")), "there are 0 groups"),
        (document(rule("*x", "lab")), "nothing to repeat"),
        (document(rule("x*?", "lab")), "nothing to repeat"),
        (document(rule("(?i)x", "lab")), "nothing to repeat"),
        (document(rule("(?=x)", "lab")), "nothing to repeat"),
        (document(rule("a|*b", "lab")), "nothing to repeat"),
        (document(rule("(x", "lab")), "missing )"),
        (document(rule("x)", "lab")), "unbalanced"),
        (document(rule(r"(x)\1", "lab")), "is no escape"),
        (document(rule(r"\d", "lab")), "is no escape"),
        (document(rule("x\\", "lab")), "is no escape"),
        (document(rule("x", "{99999999999999999999}")), "groups to refer to"),
    ],
)
def test_a_faulty_file_is_refused_and_says_where(documents: object, fault: str) -> None:
    with pytest.raises(rules.MappingRefusedError) as caught:
        rules.parse(documents)
    assert fault in str(caught.value)


def test_all_faults_of_a_file_are_told_at_once() -> None:
    with pytest.raises(rules.MappingRefusedError) as caught:
        rules.parse([*document(rule("*x", "lab"), rule("x", "{no}")), {"DATA_TYPE": "other"}])
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "document 1, rule 1",
        "document 1, rule 2",
        "document 2",
    ]


LETTERS = "ab.|()?*"


@settings(max_examples=300, deadline=None)
@given(match=st.text(LETTERS, max_size=8), username=st.text("ab.(", max_size=6))
def test_the_small_language_agrees_with_the_big_one(match: str, username: str) -> None:
    """Where both know a pattern of these characters, they mean the same."""
    try:
        (found,) = rules.parse(document(rule(match or "a", "lab")))
    except rules.MappingRefusedError:
        return
    identity = LinkedIdentity(id="1", username=username)
    (outcome,) = rules.outcomes([found], (identity,))
    assert bool(outcome.user_name) == bool(re.fullmatch(match or "a", username))
