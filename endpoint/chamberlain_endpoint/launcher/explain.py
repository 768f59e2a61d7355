"""Says why: which rule gives an identity set which account, and what keeps it from starting.

`python -m chamberlain_endpoint.launcher.explain` reads one question (JSON) on standard input
and writes one answer. It is for the administrator's command line, which may not load what
decides about accounts; it starts nothing, changes nothing and opens no socket.
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
from chamberlain_endpoint.identity.program import ProgramFailedError
from chamberlain_endpoint.identity.rules import MappingRefusedError, Program
from chamberlain_endpoint.launcher import accounts, preflight
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


def _explained(question: dict[str, Any]) -> Answer:
    ready = preflight.check(Path(question["config"])) if question["config"] else None
    who = _assertion(question["identities"])
    if question["mapping"]:
        # A draft may be anybody's: it decides nothing, and none of its programs is run.
        mapper: Mapper = RuleMapper.read(Path(question["mapping"]).read_bytes())
    else:
        assert ready is not None
        in_force, _ = ready.mapping_source(lambda _: None)
        mapper = in_force()
    failed = ""
    mapped: Mapped | None = None
    try:
        mapped = mapper.map(who)
    except IdentityNotMappedError as error:
        failed = str(error)
    except ProgramFailedError as error:
        failed = f"a program of the mapping failed: {error}"
    outcomes = _outcomes(mapper, who, failed)
    return {"faults": [], "outcomes": outcomes, **_account(mapped, failed, ready)}


def _outcomes(mapper: Mapper, who: Assertion, failed: str) -> list[Answer]:
    if not isinstance(mapper, RuleMapper):
        return [_outcome("the endpoint's owner alone", who.identities[0], "", failed)]
    found = [
        _outcome(one.rule.label, one.identity, one.user_name, one.why_not)
        for one in mapper.explain(who)
    ]
    for step in mapper.steps:
        if isinstance(step, Program):
            why = "a program: it is asked when nothing before it in the file has an answer"
            found.append(_outcome(step.label, who.identities[0], "", why))
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
