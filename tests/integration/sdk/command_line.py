"""The `chamberlain` command in a process of its own, from a pipe and from a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.sdk.stand_in import TOKEN, StandInHub

FILE = """
import neighbour

def add(left, right=1):
    return neighbour.add(left, right)

def fail():
    raise ValueError("on purpose")

def loud(code=0):
    import sys

    print("to its output")
    print("to its error", file=sys.stderr)
    if code:
        raise ValueError("on purpose")
    return "quiet"

def odd_result():
    return {1, 2}
"""
_RUN = "from chamberlain.cli import main; main()"
_PATIENCE_S = 60.0


class Shell:
    def __init__(self, hub: StandInHub, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CHAMBERLAIN_HUB_URL": hub.url,
            "CHAMBERLAIN_TOKEN": TOKEN,
        }
        (folder / "work.py").write_text(FILE)
        (folder / "neighbour.py").write_text("def add(a, b):\n    return a + b\n")

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _RUN, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )

    def at_terminal(self, code: str, *arguments: str, answers: dict[str, str]) -> tuple[int, str]:
        """Run Python `code` at a terminal; give each answer when its question is shown.

        Returns:
            exit code, and all that the terminal showed.
        """
        terminal, other_side = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env=self.environment | {"TERM": "xterm"},
            stdin=other_side,
            stdout=other_side,
            stderr=other_side,
            start_new_session=True,
        )
        os.close(other_side)
        shown, asked, deadline = "", dict(answers), time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and select.select([terminal], [], [], _PATIENCE_S)[0]:
            try:
                shown += os.read(terminal, 4096).decode()
            except OSError:  # the other side is closed
                break
            for question in [one for one in asked if one in shown]:
                os.write(terminal, f"{asked.pop(question)}\n".encode())
        os.close(terminal)
        return process.wait(_PATIENCE_S), shown

    def command_at_terminal(self, *arguments: str, **answers: str) -> tuple[int, str]:
        return self.at_terminal(_RUN, *arguments, answers=answers)
