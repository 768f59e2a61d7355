"""Who becomes whom, and what the others are told."""

from __future__ import annotations

import json

import pytest
from tests.launcher_builders import ALICE, make_assertion

from chamberlain_endpoint.identity.mapper import IdentityNotMappedError, OwnerMapper, RuleMapper
from chamberlain_endpoint.identity.rules import MappingRefusedError
from chamberlain_wire.assertion import LinkedIdentity
from chamberlain_wire.errors import ErrorCode

OTHER = "00000000-0000-4000-8000-000000000b0b"
CONTENT = json.dumps(
    [
        {
            "DATA_TYPE": "expression_identity_mapping#1.0.0",
            "mappings": [
                {"source": "{username}", "match": "(.*)@x", "output": "{0}"},
                {"source": "{id}", "match": OTHER, "output": "special"},
            ],
        }
    ]
).encode()


def test_a_linked_identity_counts_like_the_effective_one() -> None:
    linked = (
        LinkedIdentity(id=ALICE, username="alice@y"),
        LinkedIdentity(id=OTHER, username="alice@z"),
    )
    mapped = RuleMapper.read(CONTENT).map(make_assertion(username="alice@y", identities=linked))
    assert (mapped.user_name, mapped.identity.id) == ("special", OTHER)
    assert mapped.rule.startswith("document 1, rule 2")


def test_who_is_not_mapped_hears_the_effective_identity_and_username() -> None:
    with pytest.raises(IdentityNotMappedError) as caught:
        RuleMapper.read(CONTENT).map(make_assertion(username="mallory@y"))
    assert caught.value.code is ErrorCode.IDENTITY_NOT_MAPPED
    assert caught.value.public == (
        "Identity failed to map to a local user name: "
        f"effective identity {ALICE}, username mallory@y."
    )
    assert "none of 2 rules" in str(caught.value)


def test_the_explanation_has_every_rule_for_every_identity() -> None:
    told = RuleMapper.read(CONTENT).explain(make_assertion(username="alice@x"))
    assert [outcome.user_name for outcome in told] == ["alice", ""]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(MappingRefusedError, match="not JSON"):
        RuleMapper.read(content)


def test_the_owner_comes_in_also_by_a_linked_identity() -> None:
    linked = (
        LinkedIdentity(id=OTHER, username="me@y"),
        LinkedIdentity(id=ALICE, username="me@x"),
    )
    mapped = OwnerMapper(ALICE, "me").map(make_assertion(identity=OTHER, identities=linked))
    assert (mapped.user_name, mapped.identity.username) == ("me", "me@x")


def test_nobody_but_the_owner_comes_into_the_single_form() -> None:
    with pytest.raises(IdentityNotMappedError) as caught:
        OwnerMapper(OTHER, "me").map(make_assertion())
    assert "serves its owner alone" in caught.value.public
