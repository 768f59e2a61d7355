"""Turns a caller into the name of a local account, and can say why or why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from chamberlain_endpoint.identity import program, rules
from chamberlain_wire.assertion import Assertion, LinkedIdentity
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_SHOWN_CHARS: Final = 256


class IdentityNotMappedError(ChamberlainError):
    """No rule gives the caller a local account. Start nothing; tell the caller."""

    code = ErrorCode.IDENTITY_NOT_MAPPED

    def __init__(self, assertion: Assertion, detail: str, because: str = "") -> None:
        super().__init__(
            f"{detail} (effective identity {assertion.identity}, username {assertion.username!r})",
            public=(
                "Identity failed to map to a local user name: effective identity "
                f"{assertion.identity}, username {assertion.username[:_SHOWN_CHARS]}{because}."
            ),
        )


@dataclass(frozen=True, slots=True)
class Mapped:
    """A caller's local user name.

    Attributes:
        identity: the linked identity that matched; not always the effective one.
        rule: the rule that matched, in words.
    """

    user_name: str
    identity: LinkedIdentity
    rule: str


class Mapper(Protocol):
    """Whatever decides which local user name a caller gets."""

    def map(self, assertion: Assertion) -> Mapped:
        """Return the caller's local user name.

        Raises:
            IdentityNotMappedError: there is none.
        """
        ...


RunProgram = Callable[[tuple[str, ...], bytes], bytes]
"""Runs a command with a text on its standard input; returns its output, empty: no answer.

Raises ProgramFailedError when it did not end in time or did not end well.
"""


class RuleMapper:
    """Maps by the rules and programs of a mapping file. The first that has an answer wins.

    Args:
        run: runs programs; None: a program that is reached fails.
    """

    def __init__(self, steps: tuple[rules.Step, ...], run: RunProgram | None = None) -> None:
        self._steps = steps
        self._run = run

    @classmethod
    def read(cls, content: bytes, run: RunProgram | None = None) -> RuleMapper:
        """Return the mapper that the bytes of a mapping file describe.

        Raises:
            MappingRefusedError: they have faults.
        """
        try:
            documents = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise rules.MappingRefusedError((f"not JSON: {error}",)) from None
        return cls(rules.parse(documents), run)

    @property
    def steps(self) -> tuple[rules.Step, ...]:
        """The rules and programs, in order."""
        return self._steps

    def map(self, assertion: Assertion) -> Mapped:
        """Return the caller's local user name.

        Takes as long as the patterns and programs take: call it where a limit of time holds.

        Raises:
            IdentityNotMappedError: nothing matches any linked identity.
            ProgramFailedError: a program failed; what stands behind it was not tried.
        """
        for step in self._steps:
            if isinstance(step, rules.Program):
                mapped = self._ask(step, assertion)
                if mapped is not None:
                    return mapped
                continue
            for outcome in rules.outcomes((step,), assertion.identities):
                if outcome.user_name:
                    return Mapped(outcome.user_name, outcome.identity, outcome.rule.label)
        raise IdentityNotMappedError(assertion, f"none of {len(self._steps)} rules matches")

    def explain(self, assertion: Assertion) -> tuple[rules.Outcome, ...]:
        """Return what every rule says of every linked identity, in the order they are asked.

        Programs are not run; what stands behind one counts only if it has no answer.
        """
        told: list[rules.Outcome] = []
        for step in self._steps:
            if isinstance(step, rules.Rule):
                told += rules.outcomes((step,), assertion.identities)
            else:
                why = "a program decides, which is not run here"
                told += (rules.Outcome(step, who, "", why) for who in assertion.identities)
        return tuple(told)

    def _ask(self, step: rules.Program, assertion: Assertion) -> Mapped | None:
        identities = assertion.identities
        try:
            if self._run is None:
                raise program.ProgramFailedError("no program may be run here")
            answer = self._run(step.command, program.question(identities))
            found = program.read_answer(answer, identities)
        except program.ProgramFailedError as error:
            raise program.ProgramFailedError(f"{step.label}: {error}") from None
        return Mapped(found[0], found[1], step.label) if found else None


class OwnerMapper:
    """Lets in one identity, as one account: the single-account form."""

    def __init__(self, owner_identity: str, user_name: str) -> None:
        self._owner_identity = owner_identity
        self._user_name = user_name

    def map(self, assertion: Assertion) -> Mapped:
        """Return the owner's user name.

        Raises:
            IdentityNotMappedError: the caller is not the owner, nor linked to the owner.
        """
        for identity in assertion.identities:
            if identity.id == self._owner_identity:
                return Mapped(self._user_name, identity, "the endpoint's owner")
        raise IdentityNotMappedError(
            assertion,
            f"not linked to the owner {self._owner_identity}",
            ": this endpoint serves its owner alone",
        )
