"""The code blocks of a page, run from top to bottom, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "guides" / "researchers.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(r"  # -> (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    code: int
    said: list[str]
    errors: str


def blocks(language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(PAGE.read_text()) if kind == language]


def expected() -> list[str]:
    """What the comments of the Python blocks say that each line prints."""
    return [line for text in blocks("python") for line in _EXPECTED.findall(text)]


def run_python(folder: Path, environment: dict[str, str]) -> Ran:
    script = folder / "guide.py"
    script.write_text("\n".join(blocks("python")))
    return _run([sys.executable, str(script)], folder, environment)


def run_shell(folder: Path, environment: dict[str, str], hub_url: str, token: str) -> Ran:
    (folder / "token.txt").write_text(token)
    text = "\n".join(blocks("sh")).replace("https://hub.example.edu", hub_url)
    programs = str(Path(sys.executable).parent)
    path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return _run(["/bin/bash", "-euc", text], folder, environment | path)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> Ran:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout.splitlines(), done.stderr)
