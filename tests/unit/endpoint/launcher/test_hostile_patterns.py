"""No pattern and no identity, however hostile, holds up the launcher for a second."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from tests.launcher_builders import make_assertion

from chamberlain_endpoint.identity import rules
from chamberlain_endpoint.identity.mapper import RuleMapper
from chamberlain_endpoint.launcher.decision import ForkingDecider, Rules, Verdict
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.assertion import LinkedIdentity

pytestmark = pytest.mark.slow

LONG = "a" * 60
CATASTROPHES = [
    ("(a*)*b", LONG),
    ("(a|a)*b", LONG),
    ("(a|aa)*b", LONG),
    ("((a*)*)*b", LONG),
    ("(.*)*@x", LONG),
    ("(a?)*b", LONG),
    ("(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)@x", LONG * 4),
    ("a*" * 30 + "b", LONG * 2),
    ("(a?a?a?a?a?a?a?a?)*b", LONG),
    ("(" * 90 + "a" + "*)" * 90 + "b", LONG),
]


@pytest.mark.parametrize(("match", "username"), CATASTROPHES)
def test_a_pattern_without_end_holds_up_nobody_else(match: str, username: str) -> None:
    """While it is tried, the loop goes on; it ends within its processor time."""
    begin = time.monotonic()
    rule = {"source": "{username}", "match": match, "output": "lab"}
    document = {"DATA_TYPE": rules.EXPRESSION, "mappings": [rule]}
    mapper = RuleMapper.read(json.dumps([document]).encode())
    assert time.monotonic() - begin < 1.0
    loop, verdicts, turns = Loop(), list[Verdict](), [time.monotonic()]

    def tick() -> None:
        turns.append(time.monotonic())
        loop.call_later(0.01, tick)

    def take(verdict: Verdict) -> None:
        verdicts.append(verdict)
        loop.stop()

    tick()
    ForkingDecider(loop).decide(
        Rules(mapper, PolicySettings(), Denied()), make_assertion(username=username), take
    )
    loop.run()
    loop.close()
    (verdict,) = verdicts
    assert not hasattr(verdict, "account")
    assert isinstance(verdict, Exception)
    assert max(later - earlier for earlier, later in pairwise(turns)) < 1.0


@pytest.mark.parametrize("length", [10_000, 1_000_000])
def test_a_very_long_username_is_a_username_like_another(length: int) -> None:
    rule = {"source": "{username}", "match": r"(.*)@example\.edu", "output": "{0}"}
    (parsed,) = rules.parse([{"DATA_TYPE": rules.EXPRESSION, "mappings": [rule]}])
    assert isinstance(parsed, rules.Rule)
    begin = time.monotonic()
    identity = LinkedIdentity(id="1", username="@example.edu" * (length // 12))
    (outcome,) = rules.outcomes([parsed], (identity,))
    assert outcome.user_name
    assert time.monotonic() - begin < 1.0


def test_the_largest_file_that_is_taken_is_read_within_a_second() -> None:
    rule = {"source": "{username}", "match": r"user1234(.*)@example\.edu", "output": "{0}"}
    entries = [{**rule, "match": f"user{number}(.*)@example\\.edu"} for number in range(4000)]
    begin = time.process_time()
    rules.parse([{"DATA_TYPE": rules.EXPRESSION, "mappings": entries}])
    assert time.process_time() - begin < 1.0
