"""The calls of the demo, and the table of what became of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from devtools.known_site import KnownSite
from devtools.paths import ROOT
from devtools.say import Reporter, print_wide

_CALL_S = 180.0


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls with which `user_endpoint_config`, and whether it must succeed."""

    identity: str
    options: Mapping[str, str | int]
    succeeds: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one call.

    Attributes:
        account: local account as the function saw it.
        user_endpoint: id of the user endpoint that ran it.
        result: what the function said.
        error: what the caller was told instead.
        seconds: from submit to result, a cold start included.
        as_expected: it succeeded or was refused as it should.
    """

    identity: str
    options: Mapping[str, str | int]
    account: str | None
    uid: int | None
    user_endpoint: str | None
    result: str | None
    error: str | None
    seconds: float
    as_expected: bool


def carry_out(site: KnownSite, calls: Sequence[Call], report: Reporter) -> list[Run]:
    """Make the calls one after the other, each as a researcher's own program would."""
    runs = []
    for call in calls:
        options = " ".join(f"{key}={value}" for key, value in call.options.items())
        with report.step(f"Calling hello() as {call.identity} ({options})"):
            runs.append(_one(site, call))
    return runs


def _one(site: KnownSite, call: Call) -> Run:
    question = {
        "example": str(ROOT / "examples" / "hello.py"),
        "endpoint": site.endpoint_id,
        "options": dict(call.options),
    }
    answer = _ask(site, call.identity, question)
    result = answer["result"] or {}
    expected_account = site.people[call.identity]
    return Run(
        identity=call.identity,
        options=call.options,
        account=result.get("username"),
        uid=result.get("uid"),
        user_endpoint=_user_endpoint(site, call.identity, answer["task_id"]),
        result=f"hello from {result['hostname']}" if result else None,
        error=answer["error"],
        seconds=answer.get("seconds", 0.0),
        as_expected=(
            result.get("username") == expected_account and answer["error"] is None
            if call.succeeds
            else answer["error"] is not None
        ),
    )


def _ask(site: KnownSite, identity: str, question: Mapping[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [site.programs.python, ROOT / "devtools" / "demo_caller.py"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        env=site.environment_of(identity),
        cwd="/",
        timeout=_CALL_S,
        check=False,
    )
    if done.returncode != 0:
        return {"result": None, "task_id": None, "error": done.stderr.strip()[-500:]}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _user_endpoint(site: KnownSite, identity: str, task_id: str | None) -> str | None:
    answer = site.get("/v3/tasks?limit=50", identity)
    if task_id is None or not isinstance(answer, dict):
        return None
    found = [task["user_endpoint_id"] for task in answer["tasks"] if task["task_id"] == task_id]
    return str(found[0]) if found else None


def as_json(runs: Sequence[Run]) -> str:
    """Return the runs as one JSON object."""
    return json.dumps({"runs": [asdict(run) for run in runs]}, indent=2)


def print_table(runs: Sequence[Run]) -> None:
    """Print the table on standard output."""
    table = Table(show_lines=False, expand=False)
    table.add_column("identity", no_wrap=True)
    table.add_column("local account", no_wrap=True)
    table.add_column("uid", justify="right", no_wrap=True)
    table.add_column("user endpoint", no_wrap=True)
    table.add_column("result", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    for run in runs:
        failed = "refused" if run.as_expected else "FAILED"
        result = run.result if run.error is None else f"{failed}: {run.error}"
        table.add_row(
            run.identity,
            run.account or "-",
            "-" if run.uid is None else str(run.uid),
            run.user_endpoint or "-",
            result,
            f"{run.seconds:.2f}",
        )
    print_wide(table)
