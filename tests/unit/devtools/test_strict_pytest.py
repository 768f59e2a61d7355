from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from devtools.paths import COUNTS_VARIABLE, ROOT


def _run(folder: Path, test: str) -> tuple[int, dict[str, int], str]:
    (folder / "test_it.py").write_text(test)
    counts = folder / "counts.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "devtools.pytest_strict", str(folder)],
        cwd=folder,
        env={
            **os.environ,
            COUNTS_VARIABLE: str(counts),
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(counts.read_text()), done.stdout


def test_a_skipped_test_is_a_failure_and_is_named(tmp_path: Path) -> None:
    code, counts, said = _run(
        tmp_path,
        "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no broker')\n",
    )
    assert code == 1
    assert counts == {"passed": 1, "failed": 1}
    assert "test_it.py::test_b" in said


def test_passed_and_failed_are_counted(tmp_path: Path) -> None:
    code, counts, _ = _run(tmp_path, "def test_a(): pass\ndef test_b(): assert 0\n")
    assert (code, counts) == (1, {"passed": 1, "failed": 1})


def test_a_file_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    code, counts, _ = _run(tmp_path, "import nothing_of_that_name\n")
    assert code != 0
    assert counts["failed"] == 1
