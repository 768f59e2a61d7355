"""Numbers of the samples: one document, of which the table, the plot and the page are made."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.peer.plan import Plan, Row, Side, Statistic, rows
from bench.peer.turns import Samples
from devtools.paths import ROOT
from devtools.say import print_wide

FORMAT: Final = 1
_FACTORS: Final = {"ms": 1000.0}
_VERSIONS: Final = (
    "import importlib.metadata as m, json, platform, sys;"
    "have = {d.name.lower(): d.version for d in m.distributions()};"
    "print(json.dumps({n: have[n] for n in sys.argv[1:] if n in have}"
    " | {'python': platform.python_version()}))"
)
_PACKAGES: Final = (
    "chamberlain",
    "globus-compute-endpoint",
    "globus-compute-sdk",
    "parsl",
    "pika",
    "dill",
)


def table_rows(plan: Plan, samples: Mapping[str, Samples]) -> list[dict[str, Any]]:
    """Return the figures of each row; `ratio` says how many times better ours is."""
    return [_figures(row, samples[row.samples]) for row in rows(plan)]


def machine(load_before: float) -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory_mb": round(int(_first("/proc/meminfo", "MemTotal").split()[0]) * 1024 / 1e6),
        "system": _first("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "kernel": platform.release(),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the packages that matter in an environment."""
    said = subprocess.run(
        [str(python), "-c", _VERSIONS, *_PACKAGES], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = json.loads(said)
    return found


def commit() -> str:
    """Return the checkout's commit, with a plus when files differ from it; empty without git."""
    words = ["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def today() -> str:
    """Return the moment, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def shown(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit == "tasks/s":
        return f"{value:,.0f} /s"
    if unit == "s":
        return f"{value:.2f} s"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def print_table(document: Mapping[str, Any]) -> None:
    """Print the figures on standard output."""
    facts = document["machine"]
    table = Table(
        title=f"{facts['cores']} cores, load {facts['load_before']} before and "
        f"{facts['load_after']} after, {document['took_s']:.0f} s",
        title_justify="left",
    )
    for name in ("what", "ours", "public", "times better"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in document["rows"]:
        ours, public = (shown(row[side], row["unit"]) for side in Side)
        table.add_row(row["title"], ours, public, f"{row['ratio']:.2f}")
    print_wide(table)


def _figures(row: Row, samples: Samples) -> dict[str, Any]:
    factor = _FACTORS.get(row.unit, 1.0)
    found = {
        side: factor * _of(row.statistic, [one for turn in samples[side] for one in turn])
        for side in Side
    }
    ours, public = found[Side.OURS], found[Side.PUBLIC]
    return {
        "name": row.name,
        "title": row.title,
        "compares": row.compares,
        "unit": row.unit,
        "statistic": row.statistic,
        "more_is_better": row.more_is_better,
        "ratio": round(ours / public if row.more_is_better else public / ours, 3),
        **{side: round(value, 4) for side, value in found.items()},
        "each_turn": {
            side: [round(factor * _of(row.statistic, turn), 4) for turn in samples[side] if turn]
            for side in Side
        },
        "samples": {side: sum(map(len, samples[side])) for side in Side},
    }


def _of(statistic: Statistic, values: Sequence[float]) -> float:
    if statistic is Statistic.MEDIAN:
        return statistics.median(values)
    share = 0.5 if statistic is Statistic.P50 else 0.95
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _first(file: str, key: str, sign: str = ":") -> str:
    """Return the value of the first line of `file` that begins with `key`."""
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(sign)
        if name.strip() == key:
            return value.strip()
    return "0"
