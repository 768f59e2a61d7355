"""Questions to the launcher's own code, answered by a child.

The command line may not load what decides about accounts; it asks
`chamberlain_endpoint.launcher.explain` and gets JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.cli.accounts import run_as
from chamberlain_endpoint.cli.errors import CommandFailedError

_MODULE: Final = "chamberlain_endpoint.launcher.explain"
_TRY_S: Final = 150.0
_TRY: Final = "chamberlain_endpoint.launcher.try_container"


@dataclass(frozen=True, slots=True)
class Explained:
    """How a mapping answers an identity set.

    Attributes:
        faults: why the mapping cannot be used; then the rest is empty.
        outcomes: what each rule says of each identity: `rule`, `identity`, `username`,
            `user_name` (empty: no match) and `why_not`.
        mapped: the first match: `user_name`, `identity`, `rule`; None: nobody comes in.
        account: the local account; None when there is none of that name.
        refused: why the account may not come in; empty: it may.
    """

    faults: tuple[str, ...]
    outcomes: tuple[dict[str, str], ...]
    mapped: dict[str, str] | None
    account: dict[str, Any] | None
    refused: str


def faults(launcher_toml: Path) -> tuple[str, ...]:
    """Return every fault that would keep the launcher from starting.

    Raises:
        CommandFailedError: the launcher's code gave no answer.
    """
    return tuple(_ask({"ask": "check", "config": str(launcher_toml)})["faults"])


def explain(
    launcher_toml: Path | None, mapping: Path | None, identities: list[dict[str, Any]]
) -> Explained:
    """Return how the mapping in force (or `mapping`) answers `identities`.

    Args:
        launcher_toml: gives the policy and, without `mapping`, the mapping in force.

    Raises:
        CommandFailedError: the launcher's code gave no answer.
    """
    question: dict[str, Any] = {"ask": "explain", "identities": identities}
    question["config"] = str(launcher_toml) if launcher_toml else None
    question["mapping"] = str(mapping.absolute()) if mapping else None
    answer = _ask(question)
    return Explained(
        faults=tuple(answer["faults"]),
        outcomes=tuple(answer.get("outcomes", ())),
        mapped=answer.get("mapped"),
        account=answer.get("account"),
        refused=answer.get("refused", ""),
    )


def try_container(launcher_toml: Path, account: str) -> list[dict[str, str]]:
    """Return the links of a throwaway container of `account`: `link`, `state`, `said`, `todo`.

    Raises:
        CommandFailedError: the launcher's code gave no answer.
    """
    arguments = ["-m", _TRY, "--config", str(launcher_toml), "--account", account]
    done = run_as(None, arguments, timeout_s=_TRY_S)
    if done.returncode != 0:
        why = done.stderr.strip()[-300:] or f"it ended with {done.returncode}"
        raise CommandFailedError(f"The launcher's code could not try it: {why}")
    links: list[dict[str, str]] = json.loads(done.stdout)
    return links


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    done = run_as(None, ["-m", _MODULE], json.dumps(question))
    if done.returncode != 0:
        why = done.stderr.strip()[-300:] or f"it ended with {done.returncode}"
        raise CommandFailedError(f"The launcher's code could not answer: {why}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
