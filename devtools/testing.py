"""`./dev test`: all test groups, on the real broker and database."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devtools import debian, environment, public
from devtools.paths import COUNTS_VARIABLE, PYTHON, ROOT
from devtools.say import Reporter, last_line

# Unit tests need no service; every other group may.
_PLAIN = frozenset({"unit"})
ALIASES = {"containers": "lab", "scheduler": "lab/slurm"}
"""Tests of containers run inside the hosts of the lab (tests/lab), not on this machine; those of
schedulers are some of the lab's."""


def groups() -> list[str]:
    """Return the test groups there are, quickest first."""
    order = ["unit", "contract", "compat", "integration", "privilege", "system", "lab", "ansible"]
    found = {path.parent.relative_to(ROOT / "tests").parts[0] for path in _test_files()}
    found -= ALIASES.keys()
    return sorted(found, key=lambda name: (order.index(name) if name in order else 9, name))


def run(chosen: Sequence[str], without: Sequence[str], more: Sequence[str]) -> int:
    """Run the chosen groups (all when empty); print the last line; return the exit code.

    Args:
        without: markers of tests to leave out, openly.
        more: further arguments for pytest.
    """
    report = Reporter()
    wanted = [ALIASES.get(name, name) for name in chosen] or groups()
    environment.ensure(environment.EVERYTHING, report)
    if "ansible" in wanted:
        environment.ensure(f"{environment.EVERYTHING},ansible", report)
    if set(wanted) - _PLAIN:
        needed = debian.PACKAGES_OF_MARKS
        wanted_marks = [mark for mark in needed if mark not in without]
        debian.ensure([name for mark in wanted_marks for name in needed[mark]], report)
    if "compat" in wanted:
        # Here, where it is shown: a test would be silent for a minute.
        public.prepare(report)
    if os.geteuid() != 0 and "needs_root" not in without:
        report.line(
            "Not root: tests marked needs_root cannot run and will count as failed. "
            "Run with sudo, or leave them out openly: ./dev test --without needs_root"
        )
    for mark in without:
        report.line(f"Left out, as asked: tests marked {mark}")
    return _pytest([f"tests/{group}" for group in wanted], without, more)


def _pytest(folders: Sequence[str], without: Sequence[str], more: Sequence[str]) -> int:
    marks = ["-m", " and ".join(f"not {mark}" for mark in without)] if without else []
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        done = subprocess.run(
            [PYTHON, "-m", "pytest", "-p", "devtools.pytest_strict", *marks, *folders, *more],
            cwd=ROOT,
            env={**os.environ, COUNTS_VARIABLE: str(counts), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        seen = json.loads(counts.read_text()) if counts.exists() else {}
    failed = int(seen.get("failed", 0))
    # pytest itself may break (usage, internal error) without a failed test to count.
    return last_line(int(seen.get("passed", 0)), max(failed, 1 if done.returncode else 0))


def _test_files() -> list[Path]:
    return [path for path in (ROOT / "tests").rglob("test_*.py") if "__pycache__" not in path.parts]
