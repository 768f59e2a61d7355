r"""What in a mapping file works, but perhaps not as its author means. Pure.

Found by looking at the text of a rule, and by trying names that nobody should get. It runs
the rules' patterns, so it takes as long as they take: call it where a limit of time holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from chamberlain_endpoint.identity.rules import Rule, Step, outcome_for
from chamberlain_wire.assertion import LinkedIdentity

_OPEN_DOT: Final = re.compile(r"(?<!\\)(?:\\\\)*\.(?![?*])")
_DOMAIN: Final = re.compile(r"@([^|@)]*)")
_SHOWN: Final = 5


def find(steps: Iterable[Step], denied: Iterable[str]) -> tuple[str, ...]:
    """Return one sentence for each doubt, in the order of the rules.

    Args:
        denied: names of accounts that nobody should get.
    """
    names = tuple(dict.fromkeys(denied))
    rules = [step for step in steps if isinstance(step, Rule)]
    return tuple(doubt for rule in rules for doubt in _doubts(rule, names))


def candidates(rule: Rule, name: str) -> tuple[str, ...]:
    """Return texts that `rule` may match with `name` in the place of its groups."""
    if rule.is_literal:
        return (rule.match,)
    return tuple(_Reader(rule.match, name).read())


def _doubts(rule: Rule, names: tuple[str, ...]) -> Iterator[str]:
    if not rule.is_literal:
        yield from _text_doubts(rule)
    if not (rule.match + rule.source + rule.output).isprintable():
        yield (
            f"{rule.label!r}: it has a line break or another control character and will never "
            "match: a text that has one is nobody's name here"
        )
    reached = [name for name in names if _reaches(rule, name)]
    if reached:
        shown = ", ".join(reached[:_SHOWN]) + (" ..." if len(reached) > _SHOWN else "")
        yield (
            f"{rule.label}: an identity can be named so that it becomes {shown}; the policy "
            "refuses that, and nothing but the policy does"
        )


def _text_doubts(rule: Rule) -> Iterator[str]:
    for domain in _DOMAIN.findall(rule.match):
        if _OPEN_DOT.search(domain):
            yield (
                f"{rule.label}: `.` in the domain stands for any character: {domain} also matches "
                f"{_OPEN_DOT.sub('-', domain)}; write \\. (in JSON: \\\\.)"
            )
    if rule.match.startswith("^") or rule.match.endswith("$"):
        yield (f"{rule.label}: ^ and $ stand for themselves; a match covers the whole text anyhow")


def _reaches(rule: Rule, name: str) -> bool:
    for text in candidates(rule, name):
        # Whatever the source is made of: each property may be what the caller likes.
        for username in dict.fromkeys((text, name)):
            identity = LinkedIdentity(
                id=name, username=username, name=name, email=name, organization=name
            )
            if outcome_for(rule, identity, text).user_name == name:
                return True
    return False


@dataclass(slots=True)
class _Reader:
    """Reads the small language of a match and writes texts that it may match.

    A group becomes the name, a repeated or optional letter is left out, `.` becomes a letter,
    and each branch on the highest level makes a text of its own.
    """

    match: str
    name: str

    def read(self) -> Iterator[str]:
        text: list[str] = []
        depth = 0
        letters = iter(self.match)
        for letter in letters:
            escaped = next(letters, "") if letter == "\\" else ""
            if not escaped and letter in "()":
                depth += 1 if letter == "(" else -1
                text += [self.name] if depth == 0 else []
            elif depth:
                continue
            elif escaped:
                text.append(escaped)
            elif letter == "|":
                yield "".join(text)
                text = []
            elif letter in "?*":
                # What stands before it may be absent, but a group with the name matters.
                if text and text[-1] != self.name:
                    text.pop()
            else:
                text.append("x" if letter == "." else letter)
        yield "".join(text)
