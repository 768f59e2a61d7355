"""pytest plugin of `./dev test`: a skipped test is a failure, and the counts are kept.

A test that should run and was skipped looks like a passed one to whoever reads only the
last line. Those who cannot run some tests say so with `--without MARK`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from devtools.paths import COUNTS_VARIABLE

_counts: Counter[str] = Counter()
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count how each test ended; a broken set-up or tear-down is a failure."""
    if report.failed:
        _counts["failed"] += 1
    elif report.skipped and not hasattr(report, "wasxfail"):
        _counts["failed"] += 1
        _skipped.append(report.nodeid)
    elif report.when == "call":
        _counts["passed"] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Count a file that could not be read."""
    if report.failed:
        _counts["failed"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped."""
    if _skipped:
        terminalreporter.section("skipped, and therefore failed")
        for nodeid in _skipped:
            terminalreporter.line(nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the counts where `./dev test` reads them."""
    if _skipped and session.exitstatus == 0:
        session.exitstatus = 1
    where = os.environ.get(COUNTS_VARIABLE)
    if where:
        Path(where).write_text(json.dumps(dict(_counts)))
