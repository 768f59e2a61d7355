"""What a mapping program is told and what it may answer. Pure.

The formats are `identity_mapping_input#1.0.0` and `identity_mapping_output#1.0.0`. A program
that has no answer says so with an empty result, with no output, or with an exit code; a
program whose answer cannot be understood stops the mapping, because a later rule could give
the caller an account that the program would not have given.
"""

from __future__ import annotations

import json
from typing import Any, Final

from chamberlain_wire.assertion import LinkedIdentity
from chamberlain_wire.errors import ChamberlainError, ErrorCode

INPUT: Final = "identity_mapping_input#1.0.0"
OUTPUT: Final = "identity_mapping_output#1.0.0"

_USABLE: Final = frozenset({"used", "private"})
_PROPERTIES: Final = (
    "id",
    "username",
    "name",
    "email",
    "organization",
    "identity_provider",
    "identity_provider_display_name",
    "status",
)


class ProgramFailedError(ChamberlainError):
    """A mapping program did not answer, or not in the format. Give the caller no account."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint could not look up your account; try again later."


def question(identities: tuple[LinkedIdentity, ...]) -> bytes:
    """Return what a program is told: the identities that are in use, in order."""
    usable = [identity for identity in identities if identity.status in _USABLE]
    told = [{name: getattr(identity, name) for name in _PROPERTIES} for identity in usable]
    return json.dumps({"DATA_TYPE": INPUT, "identities": told}).encode()


def read_answer(
    answer: bytes, identities: tuple[LinkedIdentity, ...]
) -> tuple[str, LinkedIdentity] | None:
    """Return the local user name that a program chose, and for which identity; None: none.

    Several results: the first counts.

    Raises:
        ProgramFailedError: the answer is not in the format, or speaks of somebody else.
    """
    if not answer.strip():
        return None
    asked = {identity.id: identity for identity in identities if identity.status in _USABLE}
    found = [_read_result(entry, asked) for entry in _results(answer)]
    return found[0] if found else None


def _results(answer: bytes) -> list[Any]:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        raise ProgramFailedError("its output is not JSON") from None
    if not isinstance(document, dict) or document.get("DATA_TYPE", OUTPUT) != OUTPUT:
        raise ProgramFailedError(f"its output is no {OUTPUT}")
    results = document.get("result")
    if not isinstance(results, list):
        raise ProgramFailedError("its output has no list `result`")
    return results


def _read_result(entry: Any, asked: dict[str, LinkedIdentity]) -> tuple[str, LinkedIdentity]:
    if not isinstance(entry, dict) or type(entry.get("id")) is not str:
        raise ProgramFailedError("a result has no id")
    identity = asked.get(entry["id"].lower())
    if identity is None:
        raise ProgramFailedError("a result is for an identity that was not asked for")
    user_name = entry.get("output")
    if type(user_name) is not str or not user_name or not user_name.isprintable():
        raise ProgramFailedError("the output of a result is no user name")
    return user_name, identity
