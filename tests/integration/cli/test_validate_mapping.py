from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.cli.conftest import OWNER, Run

_KIND = "expression_identity_mapping#1.0.0"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping file of two rules."""
    file = tmp_path / "draft.json"
    rules = [
        {"source": "{username}", "match": r"(.*)@one\.example", "output": "{0}"},
        {"source": "{email}", "match": r"(.*)@two\.example", "output": "nobody-{0}"},
    ]
    file.write_text(json.dumps([{"DATA_TYPE": _KIND, "mappings": rules}]))
    return file


def test_it_says_which_rule_maps_and_why_the_other_does_not(mapping: Path, run: Run) -> None:
    ran = run("validate-mapping", "--mapping", mapping, "-u", "nobody@one.example")
    assert ran.code == 0
    assert "nobody@one.example becomes nobody\n" in ran.out
    assert "rule 1" in ran.out
    assert "rule 2" in ran.err
    assert "does not match" in ran.err


def test_the_first_linked_identity_that_matches_a_rule_counts(mapping: Path, run: Run) -> None:
    identities = [
        {"id": OWNER, "username": "x@elsewhere.example", "email": "a@two.example"},
        {"username": "nobody@one.example"},
    ]
    ran = run(
        "validate-mapping", "--mapping", mapping, "-i", "-", "--json", given=json.dumps(identities)
    )
    assert ran.code == 0
    assert ran.document["mapped"]["user_name"] == "nobody"
    assert len(ran.document["rules"]) == 4
    assert ran.document["account"]["uid"] == 65534


def test_nobody_is_1_and_says_so(mapping: Path, run: Run) -> None:
    ran = run("validate-mapping", "--mapping", mapping, "-u", "x@three.example")
    assert ran.code == 1
    assert ran.out.startswith("Nobody: none of 2 rules matches")


def test_an_account_that_is_not_there_is_refused(mapping: Path, run: Run) -> None:
    ran = run("validate-mapping", "--mapping", mapping, "-u", "no-such-person@one.example")
    assert ran.code == 1
    assert "'no-such-person' is no account of this host" in ran.out


@pytest.mark.needs_root
def test_the_policy_of_the_endpoint_has_its_say(cluster: Path, mapping: Path, run: Run) -> None:
    for user, why in (("root", "is root"), ("daemon", "below min_uid 1000")):
        ran = run("validate-mapping", "cluster", "--mapping", mapping, "-u", f"{user}@one.example")
        assert ran.code == 1
        assert why in ran.out


@pytest.mark.needs_root
def test_the_mapping_in_force_is_asked_without_another(cluster: Path, run: Run) -> None:
    ran = run("validate-mapping", "cluster", "-u", "daemon@example.com", "--json")
    assert ran.code == 1
    assert ran.document["mapped"]["user_name"] == "daemon"
    assert ran.document["admitted"] is False


def test_a_mapping_with_faults_is_told(mapping: Path, run: Run) -> None:
    mapping.write_text("[1]")
    ran = run("validate-mapping", "--mapping", mapping, "-u", "x", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "DATA_TYPE" in json.loads(ran.err)["error"]["message"]


def test_a_pattern_without_end_ends(mapping: Path, run: Run) -> None:
    rule = {"source": "{username}", "match": "(a*)*b", "output": "{0}"}
    mapping.write_text(json.dumps([{"DATA_TYPE": _KIND, "mappings": [rule]}]))
    assert run("validate-mapping", "--mapping", mapping, "-u", "a" * 64).code == 1


@pytest.mark.parametrize(
    "arguments",
    [("-u", "x"), ("cluster",), ("cluster", "-u", "x", "-i", "-"), ("cluster", "-i", "-")],
)
def test_what_makes_no_sense_ends_with_2(
    cluster: Path, run: Run, arguments: tuple[str, ...]
) -> None:
    assert run("validate-mapping", *arguments).code == 2


def test_a_terminal_sees_both(mapping: Path, run_on_terminal: Run) -> None:
    seen = run_on_terminal("validate-mapping", "--mapping", mapping, "-u", "nobody@one.example")
    assert seen.code == 0
    assert "becomes nobody" in seen.out
    assert "does not match" in seen.out


def test_a_program_is_not_run_without_an_endpoint_and_that_is_said(mapping: Path, run: Run) -> None:
    document = {"DATA_TYPE": "external_identity_mapping#1.0.0", "command": ["/bin/true"]}
    mapping.write_text(json.dumps([document]))
    ran = run("validate-mapping", "--mapping", mapping, "-u", "x@one.example")
    assert ran.code == 1
    assert ran.out.startswith("Nobody: a program of the mapping failed")
    assert "was not run" in ran.out
    assert "was not run" in ran.err
