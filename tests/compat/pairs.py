"""Makes pairs of a mapping rule and an identity: sensible ones, and ones that try to break it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chamberlain_endpoint.identity import doubts, rules

DOMAINS = (r"example\.edu", "cs.uni.edu", r"cs\.uni\.edu", "x", r"(lab|hpc)\.org", ".*", "uni-?x")
NAMES = ("alice", "bob.smith", "root", "a", "ab", "anne+x", "{name}", "{0}", "Alice", "b^c", "a[b]")
LOCALS = ("(.*)", "(.*)", "(a.*)", "(alice|bob)", "alice", "(.*)\\.(.*)", "(a)?b", "(.)(.*)", "a|b")
ODD_LOCALS = (
    "()",
    "(?:.*)",
    "(?i)a",
    '(.*)\\"',
    "a\\\\b",
    "a\\*?b",
    "(a)|(ab)",
    "a\\\\+b",
    "(.*)\\1",
)
OUTPUTS = ("{0}", "{0}", "{0}", "{1}", "lab", "u{0}", "{1}{0}", "{username}", "{name}", "{id}")
ODD_OUTPUTS = (
    *("{0}{name}", "{nope}", "{-1}", "{ 0}", "\\{0}", "{0", "{}", "{2}", " ", "{email}"),
    *("{organization}", "{1}{name}"),
)
SOURCES = ("{username}", "{username}", "{email}", "{name}/{username}", "{id}", "x{0}")
SOUP = 'ab@.|()?*\\^$+{}[]"01/-x'
TAILS = ("", "", "", "", "\n", ".evil.org", " ", "\r\n", "\x00", "@x")


@dataclass(frozen=True, slots=True)
class Pair:
    """One rule and one identity, in the forms of the file format."""

    rule: dict[str, Any]
    identity: dict[str, str]


def make(count: int, seed: int) -> Iterator[Pair]:
    """Yield `count` pairs; the same for the same `seed`."""
    chance = random.Random(seed)
    for _ in range(count):
        odd = chance.random() < 0.5
        rule = _rule(chance, odd)
        yield Pair(rule, _identity(chance, rule, odd))


def _rule(chance: random.Random, odd: bool) -> dict[str, Any]:
    if odd and chance.random() < 0.4:
        match = "".join(chance.choice(SOUP) for _ in range(chance.randint(1, 9)))
    else:
        locals_ = LOCALS + ODD_LOCALS if odd else LOCALS
        match = f"{chance.choice(locals_)}@{chance.choice(DOMAINS)}"
        if chance.random() < 0.2:
            match += f"|{chance.choice(locals_)}@{chance.choice(DOMAINS)}"
        if odd and chance.random() < 0.2:
            at = chance.randint(0, len(match))
            match = match[:at] + chance.choice(SOUP) + match[at:]
    rule: dict[str, Any] = {
        "source": chance.choice(SOURCES) if odd else "{username}",
        "match": match,
        "output": chance.choice(OUTPUTS + ODD_OUTPUTS if odd else OUTPUTS),
    }
    for name, odds in (("ignore_case", 0.2), ("literal", 0.2 if odd else 0.05)):
        if chance.random() < odds:
            rule[name] = chance.choice((True, True, False))
    return rule


def _identity(chance: random.Random, rule: dict[str, Any], odd: bool) -> dict[str, str]:
    text = _username(chance, rule)
    if odd or chance.random() < 0.2:
        text += chance.choice(TAILS)
    return {
        "id": "00000000-0000-4000-8000-00000000a11c",
        "username": text,
        "name": chance.choice(NAMES),
        "email": text if chance.random() < 0.7 else "e@x",
        "organization": "",
        "identity_provider": "idp",
        "identity_provider_display_name": "",
        "status": chance.choice(("used",) * 6 + ("private", "private", "unused", "closed")),
    }


def _username(chance: random.Random, rule: dict[str, Any]) -> str:
    """Return a text that the rule is likely to match, or nearly."""
    name = chance.choice(NAMES)
    if chance.random() < 0.02:
        return chance.choice(('q"@x', "a\\b@x", "a*b@x", "ab@x", "b@x", "{name}@x", "{0}@x"))
    texts = [f"{name}@example.edu", rule["match"]]
    document = {"DATA_TYPE": rules.EXPRESSION, "mappings": [{**rule, "source": "x", "output": "x"}]}
    try:
        (parsed,) = rules.parse([document])
    except rules.MappingRefusedError:
        pass
    else:
        assert isinstance(parsed, rules.Rule)
        texts = [*doubts.candidates(parsed, name)] * 4 + texts
    text = chance.choice(texts)
    roll = chance.random()
    if roll < 0.1:
        return text.swapcase()
    if roll < 0.2:
        return text.replace(".", "-")
    return f"evil.{text}" if roll < 0.25 else text
