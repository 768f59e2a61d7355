r"""The rules of a mapping file: which identity becomes which local user name. Pure.

A file is a list of documents. `external_identity_mapping#1.0.0` names a program (see
`program`). `expression_identity_mapping#1.0.0` has a list of rules, each with a `source` and
an `output` (texts with `{username}`-like references) and a `match`. The match language is
small: `.` any character, `?` `*` `|` `( )`, and `\` before one
of these; everything else stands for itself. Some things are stricter here than in the
programs that the format comes from:

* a match always covers the whole source: `a@x|b@x` does not match the start of `a@x.evil`,
  and nothing may stand behind a newline;
* a text with control characters never matches;
* a group that took no part in the match gives no user name;
* a text that those programs read in another way than it says (a backslash before a special
  letter in a literal rule, an escaped backslash before one, an escaped or single brace) is
  refused;
* a misspelt reference is refused when the file is read, not met when somebody comes.

`(a*)*b` can keep any backtracking matcher busy for years. Whether a pattern can do that is
not decided here: the caller gives the matching a limit of processor time (see the
launcher's `decision` module), which holds for every pattern and needs no matcher of our own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from chamberlain_wire.assertion import LinkedIdentity
from chamberlain_wire.errors import ChamberlainError, ErrorCode

EXPRESSION: Final = "expression_identity_mapping#1.0.0"
EXTERNAL: Final = "external_identity_mapping#1.0.0"

_STATUSES: Final = frozenset({"used", "private"})
_PROPERTIES: Final = {
    "id": "id",
    "sub": "id",
    "username": "username",
    "name": "name",
    "email": "email",
    "organization": "organization",
    "identity_provider": "identity_provider",
    "identity_provider_display_name": "identity_provider_display_name",
    "status": "status",
}
_SPECIAL: Final = ".?*|()"
_SPECIAL_ELSEWHERE: Final = "^$+{}[]"
_READ_OTHERWISE: Final = _SPECIAL + _SPECIAL_ELSEWHERE + "\\"
_MOST_RULES: Final = 4000
_MOST_MATCH_CHARS: Final = 1024
_REFERENCE: Final = re.compile(r"\{([^{}]*)\}")
_DOCUMENT_KEYS: Final = frozenset({"DATA_TYPE", "mappings", "comment"})
_PROGRAM_KEYS: Final = frozenset({"DATA_TYPE", "command", "comment"})
_RULE_KEYS: Final = frozenset({"source", "match", "output", "ignore_case", "literal", "comment"})


class MappingRefusedError(ChamberlainError):
    """The mapping file has faults. Keep the rules that were in force, tell the administrator.

    Attributes:
        faults: one sentence each, never empty.
    """

    code = ErrorCode.CONFIG_INVALID

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        label: where it stands and what it says, for logs and explanations.
        source: text with references to properties of the identity.
        output: the same, and with references to what the groups of the pattern matched.
        match: the pattern as it stands in the file.
        is_literal: whether every letter of it stands for itself.
    """

    label: str
    source: str
    pattern: re.Pattern[str]
    output: str
    match: str
    is_literal: bool


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the site's that is asked.

    Attributes:
        label: where it stands and what it is called.
        command: its path and its arguments.
    """

    label: str
    command: tuple[str, ...]


Step = Rule | Program
"""One thing that is tried for a caller."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule says of one identity.

    Attributes:
        user_name: the local user name; empty when it does not match.
        why_not: why it does not match; empty when it does.
    """

    rule: Step
    identity: LinkedIdentity
    user_name: str
    why_not: str


def outcomes(rules: Iterable[Rule], identities: tuple[LinkedIdentity, ...]) -> Iterator[Outcome]:
    """Yield what each rule says of each identity: rule by rule, for each all identities.

    The first outcome with a `user_name` is the mapping; all of them are the explanation.
    """
    for rule in rules:
        for identity in identities:
            yield _outcome(rule, identity)


def parse(documents: object) -> tuple[Step, ...]:
    """Return the rules and programs of a mapping file, in the order in which they are tried.

    Args:
        documents: the parsed JSON.

    Raises:
        MappingRefusedError: it has faults; all of them are named.
    """
    faults: list[str] = []
    steps: list[Step] = []
    if not isinstance(documents, list):
        raise MappingRefusedError(("a mapping file is a JSON list of documents",))
    for number, document in enumerate(documents, start=1):
        place = f"document {number}"
        if isinstance(document, dict) and document.get("DATA_TYPE") == EXTERNAL:
            steps += _program(document, place, faults)
            continue
        for where, entry in _entries(document, place, faults):
            steps += _rule(entry, where, faults)
    if not steps and not faults:
        faults.append("there is no rule in it: nobody could come in")
    if len(steps) > _MOST_RULES:
        # 0.16 ms each, in the launcher itself: an edit must not hold it up for a second.
        faults.append(f"{len(steps)} rules; {_MOST_RULES} is the limit. Use a mapping program")
    if faults:
        raise MappingRefusedError(tuple(faults))
    return tuple(steps)


def _outcome(rule: Rule, identity: LinkedIdentity) -> Outcome:
    if identity.status not in _STATUSES:
        return Outcome(rule, identity, "", f"the identity's status is {identity.status!r}")
    return outcome_for(rule, identity, _fill(rule.source, identity, ()))


def outcome_for(rule: Rule, identity: LinkedIdentity, source: str) -> Outcome:
    """Return what `rule` says of `identity` when its source is `source`."""
    if not source.isprintable():
        return Outcome(rule, identity, "", "the source has control characters")
    found = rule.pattern.fullmatch(source)
    if found is None:
        return Outcome(rule, identity, "", f"{source!r} does not match")
    wanted = (int(name) for name in _REFERENCE.findall(rule.output) if name.isdecimal())
    if any(found[number + 1] is None for number in wanted):
        return Outcome(rule, identity, "", "a group of the output took no part in the match")
    user_name = _fill(rule.output, identity, found.groups(default=""))
    if not user_name or not user_name.isprintable():
        return Outcome(rule, identity, "", "the output is no user name")
    return Outcome(rule, identity, user_name, "")


def _fill(text: str, identity: LinkedIdentity, groups: tuple[str, ...]) -> str:
    def value(reference: re.Match[str]) -> str:
        name = reference[1]
        if name.isdecimal():
            return groups[int(name)]
        return str(getattr(identity, _PROPERTIES[name]))

    return _REFERENCE.sub(value, text)


def _entries(document: Any, place: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the place and content of each rule of one document."""
    kind = document.get("DATA_TYPE") if isinstance(document, dict) else None
    if kind != EXPRESSION:
        faults.append(f"{place}: DATA_TYPE must be {EXPRESSION!r} or {EXTERNAL!r}")
    elif not isinstance(document.get("mappings"), list):
        faults.append(f"{place}: mappings must be a list")
    else:
        faults += _unknown(document, _DOCUMENT_KEYS, place)
        for number, entry in enumerate(document["mappings"], start=1):
            yield f"{place}, rule {number}", entry


def _program(document: dict[str, Any], place: str, faults: list[str]) -> tuple[Program, ...]:
    found = _unknown(document, _PROGRAM_KEYS, place)
    command = document.get("command")
    if not isinstance(command, list) or not command:
        found.append(f"{place}: command must be a list: a program and its arguments")
    elif not all(type(each) in (str, int, float) for each in command):
        found.append(f"{place}: command may hold texts and numbers only")
    elif not str(command[0]).startswith("/") or any("\0" in str(each) for each in command):
        found.append(f"{place}: command must begin with the absolute path of a program")
    faults += found
    if found:
        return ()
    assert isinstance(command, list)
    words = tuple(str(each) for each in command)
    return (Program(f"{place} ({words[0]})", words),)


def _rule(entry: Any, place: str, faults: list[str]) -> tuple[Rule, ...]:
    found = _shape_faults(entry, place)
    if not found:
        source, match, output = entry["source"], entry["match"], entry["output"]
        try:
            expression = _escape(match) if entry.get("literal") else _translate(match)
            flags = re.IGNORECASE if entry.get("ignore_case") else 0
            pattern = re.compile(expression, flags)
        except (ValueError, re.error, RecursionError, OverflowError) as error:
            found.append(f"{place}: match {match!r}: {error}")
        else:
            found += _reference_faults(source, 0, f"{place}: source")
            found += _reference_faults(output, pattern.groups, f"{place}: output")
    faults += found
    if found:
        return ()
    return (
        Rule(
            f"{place} ({source} as {match} to {output})",
            source,
            pattern,
            output,
            match,
            bool(entry.get("literal")),
        ),
    )


def _shape_faults(entry: Any, place: str) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{place}: must be an object"]
    faults = _unknown(entry, _RULE_KEYS, place)
    for name in ("source", "match", "output"):
        if type(entry.get(name)) is not str or not entry[name]:
            faults.append(f"{place}: {name} must be a text and not empty")
    if not faults and len(entry["match"]) > _MOST_MATCH_CHARS:
        faults.append(f"{place}: match has more than {_MOST_MATCH_CHARS} characters")
    for name in ("ignore_case", "literal"):
        if type(entry.get(name, False)) is not bool:
            faults.append(f"{place}: {name} must be true or false")
    return faults


def _unknown(entry: dict[str, Any], known: frozenset[str], place: str) -> list[str]:
    faults = []
    for name in sorted(entry.keys() - known):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        faults.append(f"{place}: {name[:80]!r} is not a key{hint}")
    return faults


def _reference_faults(text: str, groups: int, place: str) -> list[str]:
    faults = []
    if set("{}") & set(_REFERENCE.sub("", text)) or "\\{" in text:
        faults.append(f"{place}: every brace must belong to a {{reference}}, and none be escaped")
    for name in _REFERENCE.findall(text):
        if name.isdecimal() and name.isascii():
            if int(name[:6]) >= groups:
                faults.append(f"{place}: {{{name}}}: there are {groups} groups to refer to")
        elif name not in _PROPERTIES:
            near = difflib.get_close_matches(name, _PROPERTIES, 1)
            hint = f"; did you mean {{{near[0]}}}?" if near else ""
            faults.append(f"{place}: {{{name}}} is no property of an identity{hint}")
    return faults


def _escape(match: str) -> str:
    """Return an expression for `match` as it stands.

    Raises:
        ValueError: other programs would not take it as it stands.
    """
    for before, letter in pairwise(match):
        if before == "\\" and (letter in _READ_OTHERWISE or letter.isdecimal()):
            raise ValueError(
                f"'{before}{letter}' is read in several ways in a literal rule; "
                "write it without literal"
            )
    return re.escape(match)


def _translate(match: str) -> str:
    """Return the small language of `match` as an expression of `re`.

    Raises:
        ValueError: it is not of that language.
    """
    parts: list[str] = []
    repeatable = False
    letters = iter(match)
    escaped = ""
    for letter in letters:
        if escaped == "\\" and letter in _SPECIAL_ELSEWHERE:
            raise ValueError(f"'\\\\{letter}' is read in several ways")
        escaped = ""
        if letter == "\\":
            escaped = next(letters, "")
            if escaped not in (*_SPECIAL, "\\", '"'):
                raise ValueError(f"'\\{escaped}' is no escape of this format")
            letter = re.escape(escaped)  # noqa: PLW2901 (what the two letters stand for)
            repeatable = True
        elif letter in "?*":
            # Refused here, so that (?...), *? and ** never reach `re` as its own syntax.
            if not repeatable:
                raise ValueError(f"{letter!r} has nothing to repeat")
            repeatable = False
        elif letter in _SPECIAL:
            repeatable = letter in ".)"
        else:
            letter = re.escape(letter)  # noqa: PLW2901
            repeatable = True
        parts.append(letter)
    return "".join(parts)
