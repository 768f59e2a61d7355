"""`./dev check`: the quick gate. All checks run side by side; the last line counts them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from devtools import environment, rules
from devtools.paths import PYTHON, ROOT, VENV
from devtools.say import Reporter, last_line


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended. `said` is shown when it failed."""

    name: str
    passed: bool
    said: str
    took_s: float


@dataclass(frozen=True, slots=True)
class Check:
    """One check: a name, and what returns (passed, what was said)."""

    name: str
    run: Callable[[], tuple[bool, str]]


def all_checks() -> list[Check]:
    """Return the checks, the slowest first so that the others fill the gaps."""
    tool = VENV / "bin"
    return [
        Check("mypy --strict", lambda: _command([str(tool / "mypy")])),
        # In two halves: they wait for processes more than they compute.
        Check("unit tests of the endpoint", lambda: _pytest(["tests/unit/endpoint"])),
        Check(
            "unit tests of the rest",
            lambda: _pytest(["tests/unit", "--ignore=tests/unit/endpoint"]),
        ),
        Check("import contracts", lambda: _command([str(tool / "lint-imports"), "--no-logo"])),
        Check(
            "ruff check", lambda: _command([str(tool / "ruff"), "check", "--output-format=concise"])
        ),
        Check("ruff format", lambda: _command([str(tool / "ruff"), "format", "--check"])),
        Check("house rules", _house_rules),
    ]


def run(only: Sequence[str] = ()) -> int:
    """Run all checks, or those whose name contains a word of `only`; return the exit code."""
    report = Reporter()
    environment.ensure(environment.EVERYTHING, report)
    chosen = [c for c in all_checks() if not only or any(word in c.name for word in only)]
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        for done in as_completed([pool.submit(_timed, check) for check in chosen]):
            outcome = done.result()
            outcomes.append(outcome)
            word = "passed" if outcome.passed else "FAILED"
            report.line(f"{outcome.name}: {word} ({outcome.took_s:.1f} s)")
    for outcome in outcomes:
        if not outcome.passed:
            report.line(f"\n--- {outcome.name}\n{outcome.said.rstrip()}")
    passed = sum(outcome.passed for outcome in outcomes)
    return last_line(passed, len(outcomes) - passed)


def _timed(check: Check) -> Outcome:
    started = time.monotonic()
    passed, said = check.run()
    return Outcome(check.name, passed, said, time.monotonic() - started)


def _command(command: list[str]) -> tuple[bool, str]:
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


def _pytest(arguments: list[str]) -> tuple[bool, str]:
    # Without its cache folder: two of them would write to one.
    return _command([str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments])


def _house_rules() -> tuple[bool, str]:
    found = list(rules.faults(ROOT, rules.tracked_files(ROOT)))
    return not found, "\n".join(found)
