"""Says why: which rule gives an identity set which account, and what keeps it from starting.

`python -m chamberlain_endpoint.launcher.explain` reads one question (JSON) on standard input
and writes one answer. It is for the administrator's command line, which may not load what
decides about accounts; it changes nothing, opens no socket, and starts nothing but the
programs of the mapping, which run as the launcher would run them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.identity.mapper import (
    IdentityNotMappedError,
    Mapped,
    Mapper,
    RuleMapper,
)
from chamberlain_endpoint.identity.program import ProgramFailedError, read_answer
from chamberlain_endpoint.identity.rules import MappingRefusedError, Program
from chamberlain_endpoint.launcher import accounts, preflight, trusted_file
from chamberlain_endpoint.launcher.config import ConfigRefusedError
from chamberlain_endpoint.launcher.policy import AccountRefusedError, check_account
from chamberlain_wire.assertion import Assertion, LinkedIdentity
from chamberlain_wire.errors import ChamberlainError

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_PROCESSOR_S: Final = 3

Answer = dict[str, Any]


def main() -> int:
    """Answer the question on standard input."""
    # A pattern of a mapping file can keep a matcher busy for years.
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_S, _PROCESSOR_S + 1))
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
    return 0


def answer(question: dict[str, Any]) -> Answer:
    """Return the answer to `{"ask": "check" | "explain", ...}`.

    `check` takes `config`; `explain` takes `identities` (a list of the assertion's linked
    identities) and `config`, `mapping` or both. Always there is `faults`; when it is not
    empty, it is all there is.
    """
    try:
        if question["ask"] == "check":
            preflight.check(Path(question["config"]))
            return {"faults": []}
        return _explained(question)
    except (ConfigRefusedError, MappingRefusedError) as error:
        return {"faults": list(error.faults)}
    except (ChamberlainError, OSError) as error:
        return {"faults": [str(error)]}


class _Programs:
    """Runs the programs of a mapping when the mapper comes to them, and remembers what was said.

    Args:
        ready: has the account and the limits that they run with; None: no endpoint was named.
        draft: the file that names them when it is not the one in force.
    """

    def __init__(self, ready: preflight.Ready | None, draft: Path | None) -> None:
        self._run = None if ready is None else ready.runner
        self._refusal = _why_not_run(ready, draft)
        self._said: dict[tuple[str, ...], bytes | ProgramFailedError] = {}

    def __call__(self, command: tuple[str, ...], question: bytes) -> bytes:
        """See `identity.mapper.RunProgram`."""
        try:
            if self._refusal or self._run is None:
                raise ProgramFailedError(f"was not run: {self._refusal}")
            said = self._said[command] = self._run(command, question)
        except ProgramFailedError as error:
            self._said[command] = error
            raise
        return said

    def outcome(self, step: Program, who: Assertion) -> Answer:
        """Return what the program said, or why it was not asked."""
        said = self._said.get(step.command)
        first = who.identities[0]
        if said is None:
            why = "a program; it was not asked, because what stands before it has the answer"
            return _outcome(step.label, first, "", why)
        if isinstance(said, ProgramFailedError):
            return _outcome(step.label, first, "", str(said))
        try:
            found = read_answer(said, who.identities)
        except ProgramFailedError as error:
            return _outcome(step.label, first, "", str(error))
        if found is None:
            return _outcome(step.label, first, "", "the program has no answer")
        return _outcome(step.label, found[1], found[0], "")


def _why_not_run(ready: preflight.Ready | None, draft: Path | None) -> str:
    """Return what keeps programs from being run here; empty: nothing."""
    if os.geteuid() != 0:
        return "only root can run it as the account for mapping programs; try again as root"
    if ready is None:
        return "name the endpoint too: its launcher.toml says as whom programs run"
    if ready.runner is None:
        return "launcher.toml names no [mapping] external_account"
    try:
        if draft is not None:
            trusted_file.stamp(draft, ready.owners)
    except trusted_file.UntrustedPathError as error:
        return f"root runs what only root can have written: {error}"
    return ""


def _explained(question: dict[str, Any]) -> Answer:
    ready = preflight.check(Path(question["config"])) if question["config"] else None
    who = _assertion(question["identities"])
    draft = Path(question["mapping"]) if question["mapping"] else None
    programs = _Programs(ready, draft)
    mapper = _mapper(ready, draft, programs)
    failed = ""
    mapped: Mapped | None = None
    try:
        mapped = mapper.map(who)
    except IdentityNotMappedError as error:
        failed = str(error)
    except ProgramFailedError as error:
        failed = f"a program of the mapping failed: {error}"
    outcomes = _outcomes(mapper, programs, who, failed)
    return {"faults": [], "outcomes": outcomes, **_account(mapped, failed, ready)}


def _mapper(ready: preflight.Ready | None, draft: Path | None, programs: _Programs) -> Mapper:
    if draft is not None:
        # A draft may be anybody's: it decides nothing.
        return RuleMapper.read(draft.read_bytes(), programs)
    assert ready is not None
    in_force, _ = ready.mapping_source(lambda _: None)
    mapper = in_force()
    return RuleMapper(mapper.steps, programs) if isinstance(mapper, RuleMapper) else mapper


def _outcomes(mapper: Mapper, programs: _Programs, who: Assertion, failed: str) -> list[Answer]:
    if not isinstance(mapper, RuleMapper):
        return [_outcome("the endpoint's owner alone", who.identities[0], "", failed)]
    found, told = [], set[Program]()
    for one in mapper.explain(who):
        if not isinstance(one.rule, Program):
            found.append(_outcome(one.rule.label, one.identity, one.user_name, one.why_not))
        elif one.rule not in told:
            # It is asked once, about all identities.
            told.add(one.rule)
            found.append(programs.outcome(one.rule, who))
    return found


def _account(mapped: Mapped | None, failed: str, ready: preflight.Ready | None) -> Answer:
    if mapped is None:
        return {"mapped": None, "account": None, "refused": failed}
    found: Answer = {
        "mapped": {
            "user_name": mapped.user_name,
            "identity": mapped.identity.id,
            "username": mapped.identity.username,
            "rule": mapped.rule,
        },
        "account": None,
    }
    try:
        account = accounts.look_up(mapped.user_name)
    except accounts.NoSuchAccountError as error:
        return found | {"refused": str(error)}
    found["account"] = asdict(account)
    if ready is None:
        return found | {"refused": ""}
    try:
        check_account(account, ready.policy, ready.denied)
    except AccountRefusedError as error:
        return found | {"refused": str(error)}
    return found | {"refused": ""}


def _outcome(rule: str, identity: LinkedIdentity, user_name: str, why_not: str) -> Answer:
    return {
        "rule": rule,
        "identity": identity.id,
        "username": identity.username,
        "user_name": user_name,
        "why_not": why_not,
    }


def _assertion(identities: list[dict[str, Any]]) -> Assertion:
    linked = tuple(LinkedIdentity(**each) for each in identities)
    return Assertion(
        id=_NOBODY,
        endpoint=_NOBODY,
        user_endpoint=_NOBODY,
        identity=linked[0].id,
        username=linked[0].username,
        identities=linked,
        request_digest="",
        source="the command line",
        issued_at=0.0,
        expires_at=0.0,
    )


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
