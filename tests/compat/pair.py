"""One SDK at one agent: the scenario run by a Python of the SDK's own, and what it printed."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
SCENARIO: Final = HERE / "scenario.py"
_LIMIT_S: Final = 600.0


def steps() -> list[str]:
    """The scenario's steps in their order, without loading it."""
    return [
        node.name
        for file in (SCENARIO, HERE / "refusals.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Name) and one.id == "step" for one in node.decorator_list)
    ]


@dataclass(frozen=True)
class Told:
    """How one step went; `heard` are warnings and what was logged as one."""

    error: str
    took_s: float
    heard: list[str]


@dataclass
class Run:
    """A scenario that runs.

    Args:
        python: with the SDK in it.
        told: what the scenario reads: `sdk`, `endpoint`, `hub_url`, tokens, `steps`.
    """

    python: Path
    told: Mapping[str, Any]
    environment: Mapping[str, str]
    folder: Path
    results: dict[str, Told] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "told.json").write_text(json.dumps(self.told))
        with (
            (self.folder / "told.json").open() as given,
            (self.folder / "said").open("w") as said,
            (self.folder / "complaints").open("w") as complaints,
        ):
            self._process = subprocess.Popen(
                [str(self.python), str(SCENARIO)],
                stdin=given,
                stdout=said,
                stderr=complaints,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),
                    "LANG": "C.UTF-8",
                    "PYTHONFAULTHANDLER": "1",
                    **self.environment,
                },
                cwd=self.folder,
            )

    def finish(self) -> None:
        """Wait for its end, and read what it said of each step; say so of steps that never came."""
        try:
            self._process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.stop()
        for line in (self.folder / "said").read_text().splitlines():
            one = json.loads(line)
            self.results[one["step"]] = Told(one["error"], one["took_s"], one["heard"])
        complaints = (self.folder / "complaints").read_text()
        for step in self.told["steps"]:
            never = Told(f"It did not come to this step.\n{complaints[-4000:]}", 0.0, [])
            self.results.setdefault(step, never)

    def stop(self) -> None:
        """End it, if it runs; it leaves word of where it was."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
        self._process.wait()
