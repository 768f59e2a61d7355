"""What a mapping program is told, and what of its answers is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.launcher_builders import ALICE, make_assertion

from chamberlain_endpoint.identity import program, rules
from chamberlain_endpoint.identity.mapper import IdentityNotMappedError, RuleMapper
from chamberlain_endpoint.identity.program import ProgramFailedError
from chamberlain_wire.assertion import LinkedIdentity

BOB = "00000000-0000-4000-8000-0000000000b0"
BOTH = (
    LinkedIdentity(id=ALICE, username="alice@x", email="a@x"),
    LinkedIdentity(id=BOB, username="bob@y", status="private"),
    LinkedIdentity(id="00000000-0000-4000-8000-0000000000c0", username="c@y", status="closed"),
)


def answer(*results: Any, **more: Any) -> bytes:
    return json.dumps({"DATA_TYPE": program.OUTPUT, "result": list(results), **more}).encode()


def test_it_is_told_the_identities_in_use_in_their_order() -> None:
    told = json.loads(program.question(BOTH))
    assert told["DATA_TYPE"] == "identity_mapping_input#1.0.0"
    assert [each["username"] for each in told["identities"]] == ["alice@x", "bob@y"]
    assert told["identities"][0]["email"] == "a@x"


def test_the_first_result_counts() -> None:
    found = program.read_answer(
        answer({"id": BOB.upper(), "output": "bob"}, {"id": ALICE, "output": "alice"}), BOTH
    )
    assert found == ("bob", BOTH[1])


@pytest.mark.parametrize("text", [b"", b"\n", answer()])
def test_no_answer_is_one(text: bytes) -> None:
    assert program.read_answer(text, BOTH) is None


@pytest.mark.parametrize(
    "text",
    [
        b"alice",
        b"[]",
        b"{}",
        b"[" * 100_000,
        answer(DATA_TYPE="identity_mapping_output#2.0.0"),
        answer("alice"),
        answer({"id": ALICE}),
        answer({"id": ALICE, "output": ""}),
        answer({"id": ALICE, "output": 0}),
        answer({"id": ALICE, "output": "root\n"}),
        answer({"id": 7, "output": "alice"}),
        answer({"id": BOTH[2].id, "output": "c"}),
        answer({"id": ALICE, "output": "alice"}, {"id": "somebody else", "output": "root"}),
    ],
)
def test_what_is_no_answer_stops_the_mapping(text: bytes) -> None:
    with pytest.raises(ProgramFailedError):
        program.read_answer(text, BOTH)


EXPRESSION = {
    "DATA_TYPE": rules.EXPRESSION,
    "mappings": [{"source": "{username}", "match": "(.*)@x", "output": "{0}"}],
}
PROGRAM = {"DATA_TYPE": rules.EXTERNAL, "command": ["/bin/map", 7]}


def mapped(said: bytes, *documents: dict[str, Any]) -> str:
    asked: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], question: bytes) -> bytes:
        asked.append(command)
        return said

    mapper = RuleMapper.read(json.dumps(documents).encode(), run)
    user_name = mapper.map(make_assertion(identities=BOTH)).user_name
    assert asked in ([], [("/bin/map", "7")])
    return f"{user_name} {len(asked)}"


def test_documents_are_tried_in_order_whatever_their_kind() -> None:
    said = answer({"id": BOB, "output": "from-program"})
    assert mapped(said, EXPRESSION, PROGRAM) == "alice 0"
    assert mapped(said, PROGRAM, EXPRESSION) == "from-program 1"
    assert mapped(b"", PROGRAM, EXPRESSION) == "alice 1"


def test_behind_a_program_that_failed_nothing_is_tried() -> None:
    with pytest.raises(ProgramFailedError, match=r"document 1 \(/bin/map\)"):
        mapped(b"garbage", PROGRAM, EXPRESSION)


def test_a_caller_whom_nothing_maps_is_refused() -> None:
    with pytest.raises(IdentityNotMappedError):
        mapped(b"", PROGRAM)


def test_the_explanation_says_that_a_program_decides_without_running_it() -> None:
    mapper = RuleMapper.read(json.dumps([PROGRAM, EXPRESSION]).encode())
    told = mapper.explain(make_assertion(identities=BOTH[:1]))
    assert [outcome.why_not for outcome in told] == ["a program decides, which is not run here", ""]
    assert told[0].rule.label == "document 1 (/bin/map)"
