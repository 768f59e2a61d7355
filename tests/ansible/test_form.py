"""The playbooks as text: Ansible's syntax, and ansible-lint's strictest profile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devtools.lab.plays import COLLECTION, environment
from devtools.paths import VENV

pytestmark = [pytest.mark.slow]
PLAYBOOKS = sorted(path.name for path in COLLECTION.glob("*.yml") if path.name != "galaxy.yml")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(VENV / "bin" / words[0]), *words[1:]],
        cwd=COLLECTION,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_playbook_is_good_syntax(tmp_path: Path) -> None:
    done = run(
        tmp_path, "ansible-playbook", "--syntax-check", "-i", "inventories/example", *PLAYBOOKS
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_lint_finds_nothing_in_its_strictest_profile(tmp_path: Path) -> None:
    done = run(
        tmp_path, "ansible-lint", "--offline", "--nocolor", "--profile", "production", "--strict"
    )
    assert done.returncode == 0, done.stdout + done.stderr
