"""The commit hook: the checks that take a second, before a commit instead of after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from devtools.paths import ROOT

_HOOK = """\
#!/bin/sh
# Written by `./dev setup`; remove it freely. The whole gate is ./dev check.
exec ./dev check ruff rules >&2
"""


def install() -> Path | None:
    """Write the hook; return its path. None: no repository, or a hook of somebody else's."""
    asked = subprocess.run(
        ["git", "rev-parse", "--git-path", "hooks/pre-commit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return None
    path = ROOT / asked.stdout.strip()
    if path.exists():
        return path if path.read_text() == _HOOK else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HOOK)
    path.chmod(0o755)
    return path
