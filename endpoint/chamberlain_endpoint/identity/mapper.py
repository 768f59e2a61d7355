"""Turns a caller into the name of a local account, and can say why or why not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Protocol

from chamberlain_endpoint.identity import rules
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


class RuleMapper:
    """Maps by the rules of a mapping file. The first rule that matches wins."""

    def __init__(self, found: tuple[rules.Rule, ...]) -> None:
        self._rules = found

    @classmethod
    def read(cls, content: bytes) -> RuleMapper:
        """Return the mapper that the bytes of a mapping file describe.

        Raises:
            MappingRefusedError: they have faults.
        """
        try:
            documents = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise rules.MappingRefusedError((f"not JSON: {error}",)) from None
        return cls(rules.parse(documents))

    def map(self, assertion: Assertion) -> Mapped:
        """Return the caller's local user name.

        Takes as long as the patterns take: call it where a limit of time holds.

        Raises:
            IdentityNotMappedError: no rule matches any linked identity.
        """
        for outcome in rules.outcomes(self._rules, assertion.identities):
            if outcome.user_name:
                return Mapped(outcome.user_name, outcome.identity, outcome.rule.label)
        raise IdentityNotMappedError(assertion, f"none of {len(self._rules)} rules matches")

    def explain(self, assertion: Assertion) -> tuple[rules.Outcome, ...]:
        """Return what every rule says of every linked identity, in the order they are asked."""
        return tuple(rules.outcomes(self._rules, assertion.identities))


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
