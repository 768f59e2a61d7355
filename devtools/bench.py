"""`./dev bench`: the path of a task with a stopwatch, on a throwaway site of this machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from devtools.known_site import KnownSite
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter, print_wide
from devtools.stage import Stage

PERSON: Final = "bench@example.edu"
PEOPLE: Final[Mapping[str, str | None]] = {PERSON: "demo-bench"}
STAGE: Final = "bench"

_LIMIT_S: Final = 180
_ALL_S: Final = 900.0
_NAMES: Final[Mapping[str, str]] = {"threads": "thread pool", "htex": "HTEX, one block"}
# What the first version is to reach on two cores; None: no target was set.
_TARGETS: Final[Mapping[str, Mapping[str, float]]] = {
    "threads": {"cold_start_s": 1.0, "warm_p50_s": 0.020, "tasks_per_s": 1000.0},
    "htex": {"cold_start_s": 3.5, "warm_p50_s": 0.020},
}


class BenchFailedError(CannotGoOnError):
    """The measuring program failed; the message holds what it said."""


def run(where: Path, report: Reporter, *, tasks: int, engines: Sequence[str]) -> dict[str, Any]:
    """Return the figures of `engines`; nothing is left running, or of its accounts."""
    stage = Stage(where, STAGE, PEOPLE, report)
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    figures: dict[str, Any] = {}
    try:
        stage.install()
        stage.set()
        for engine in engines:
            with report.step(f"Measuring: {_NAMES[engine]}"):
                figures[engine] = _measure(stage.site, engine, tasks)
    finally:
        stage.strike()
    return {"machine": machine, "engines": figures, "targets": _TARGETS}


def missed(figures: Mapping[str, Any]) -> list[str]:
    """Return the targets that were not reached, in words."""
    found = []
    for engine, targets in _TARGETS.items():
        for name, target in targets.items():
            value = figures["engines"].get(engine, {}).get(name)
            if value is not None and not _reached(name, value, target):
                found.append(f"{_NAMES[engine]}: {name} is {value}, the target is {target}")
    return found


def print_table(figures: Mapping[str, Any]) -> None:
    """Print the figures beside their targets on standard output."""
    machine = figures["machine"]
    title = f"{machine['cores']} cores, load before it began {machine['load_before']}"
    table = Table(title=title, title_justify="left")
    table.add_column("through the SDK")
    for engine in figures["engines"]:
        table.add_column(_NAMES[engine], justify="right")
        table.add_column("target", justify="right", style="dim")
    for name, words, unit, factor in (
        ("cold_start_s", "cold start to first result (median)", "s", 1),
        ("warm_p50_s", "warm round trip, p50", "ms", 1000),
        ("warm_p95_s", "warm round trip, p95", "ms", 1000),
        ("tasks_per_s", "no-op tasks at once", "/s", 1),
    ):
        row = [words]
        for engine, values in figures["engines"].items():
            target = _TARGETS[engine].get(name)
            row.append(f"{values[name] * factor:.2f} {unit}")
            row.append("-" if target is None else f"{target * factor:g} {unit}")
        table.add_row(*row)
    print_wide(table)


def _reached(name: str, value: float, target: float) -> bool:
    return value >= target if name.endswith("_per_s") else value <= target


def _measure(site: KnownSite, engine: str, tasks: int) -> dict[str, Any]:
    question = {
        "endpoint": site.endpoint_id,
        # Another number of workers is another user endpoint: each of these starts cold.
        "cold": [{"ENGINE": engine, "MAX_WORKERS": workers} for workers in (3, 1, 2)],
        "warm": 200,
        "tasks": tasks,
        "limit_s": _LIMIT_S,
    }
    done = subprocess.run(
        [site.programs.python, ROOT / "bench" / "measure.py"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        env=site.environment_of(PERSON),
        cwd="/",
        timeout=_ALL_S,
        check=False,
    )
    if done.returncode != 0:
        raise BenchFailedError(f"Measuring {engine} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
