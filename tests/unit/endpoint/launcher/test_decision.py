"""Decisions: the same in a child as here, and never for ever."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
from tests.launcher_builders import make_assertion, own_account

from chamberlain_endpoint.identity.mapper import RuleMapper
from chamberlain_endpoint.launcher import protocol
from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.decision import (
    ForkingDecider,
    InlineDecider,
    PatternTooSlowError,
    Rules,
    Verdict,
)
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.errors import ErrorCode

# Root is refused whatever the rules say.
SOMEBODY = look_up("nobody") if os.geteuid() == 0 else own_account()
ALL_MAY = PolicySettings(min_uid=1, denied_accounts=())


def rules_of(match: str, output: str) -> Rules:
    rule = {"source": "{username}", "match": match, "output": output}
    document = {"DATA_TYPE": "expression_identity_mapping#1.0.0", "mappings": [rule]}
    return Rules(RuleMapper.read(json.dumps([document]).encode()), ALL_MAY, Denied())


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def inline(rules: Rules) -> Verdict:
    verdicts: list[Verdict] = []
    InlineDecider().decide(rules, make_assertion(), verdicts.append)
    return verdicts[0]


def forked(loop: Loop, rules: Rules, count: int = 1, username: str = "a@x") -> list[Verdict]:
    verdicts: list[Verdict] = []
    decider = ForkingDecider(loop)
    for _ in range(count):
        decider.decide(rules, make_assertion(username=username), verdicts.append)
    until = time.monotonic() + 60
    while len(verdicts) < count:
        assert time.monotonic() < until
        loop.turn()
    return verdicts


def told(verdict: Verdict) -> tuple[ErrorCode, str, str]:
    assert not isinstance(verdict, protocol.Admitted)
    return protocol.word_of(verdict), verdict.public, str(verdict)


def test_a_missing_account_is_said_to_be_missing() -> None:
    word, public, detail = told(inline(rules_of(".*", "chtest-nobody-at-all")))
    assert word is ErrorCode.IDENTITY_NOT_MAPPED
    assert public.endswith(": the local account does not exist.")
    assert "chtest-nobody-at-all" in detail
    assert "chtest-nobody-at-all" not in public


@pytest.mark.parametrize("output", ["chtest-nobody-at-all", "a/b", "x" * 100_000])
def test_a_child_refuses_like_the_launcher_itself(loop: Loop, output: str) -> None:
    rules = rules_of(".*", output)
    (verdict,) = forked(loop, rules, username=make_assertion().username)
    assert told(verdict) == told(inline(rules))


def test_a_child_admits_like_the_launcher_itself(loop: Loop) -> None:
    rules = rules_of(".*", SOMEBODY.uname)
    (verdict,) = forked(loop, rules, username=make_assertion().username)
    assert verdict == inline(rules)
    assert isinstance(verdict, protocol.Admitted)
    assert verdict.account == SOMEBODY


def test_many_wait_in_line_and_all_are_answered(loop: Loop) -> None:
    verdicts = forked(loop, rules_of("nobody@x", "lab"), count=30)
    assert {told(verdict)[0] for verdict in verdicts} == {ErrorCode.IDENTITY_NOT_MAPPED}
    assert len(verdicts) == 30


@pytest.mark.slow
def test_a_pattern_without_end_is_ended(loop: Loop) -> None:
    (verdict,) = forked(loop, rules_of("(a*)*b", "lab"), username="a" * 60)
    assert isinstance(verdict, PatternTooSlowError)
