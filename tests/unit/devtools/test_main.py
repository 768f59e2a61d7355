from __future__ import annotations

import subprocess
import sys

from devtools.paths import ROOT

# What `./dev` installs before it knows the command: the laptop's dependencies.
_LATER = ("pytest", "mypy", "sqlalchemy", "pydantic", "cryptography", "yaml", "psutil", "parsl")


def test_the_command_line_needs_nothing_that_setup_installs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import devtools.main, sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(_LATER) & set(done.stdout.split())
