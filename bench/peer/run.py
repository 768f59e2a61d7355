"""One comparison from its start to its files."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.peer import figures, plot
from bench.peer.plan import FULL, QUICK, Side
from bench.peer.stand import Stand
from bench.peer.turns import Turns
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter

FIGURES: Final = "peer.json"
PICTURE: Final = "peer.svg"
DEFAULT_OUT: Final = ROOT / "build" / "peer"


class NoFiguresError(CannotGoOnError):
    """There is no run to show; the message says how to make one."""


def compare(where: Path, report: Reporter, *, quick: bool) -> dict[str, Any]:
    """Measure both sides and return the document; nothing is left running, or of its account.

    Args:
        where: folder that every account can enter, as `stage.default_folder()`.

    Raises:
        CannotGoOnError: something is missing or failed; the message says what.
    """
    plan = QUICK if quick else FULL
    load, began, commit = os.getloadavg()[0], time.monotonic(), figures.commit()
    stand = Stand(where, report)
    try:
        stand.open()
        turns = Turns(stand, plan)
        turns.take()
        with stand.inside():
            overview: Any = stand.site.rabbit.api("GET", "/api/overview")
    finally:
        stand.close()
    return {
        "format": figures.FORMAT,
        "made_at": figures.today(),
        "took_s": round(time.monotonic() - began, 1),
        "quick": quick,
        "commit": commit,
        "plan": asdict(plan),
        "machine": figures.machine(load),
        "versions": {
            "ours": figures.versions(stand.python(Side.OURS)),
            "public_agent": figures.versions(stand.python_of_agent(Side.PUBLIC)),
            "public_sdk": figures.versions(stand.python(Side.PUBLIC)),
            "rabbitmq": str(overview["rabbitmq_version"]),
        },
        "rows": figures.table_rows(plan, turns.samples),
    }


def write(document: dict[str, Any], out: Path) -> None:
    """Write the JSON and the plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / FIGURES).write_text(json.dumps(document, indent=2) + "\n")
    (out / PICTURE).write_text(plot.svg(document))


def read(out: Path) -> dict[str, Any]:
    """Return the document of the last run that wrote into `out`.

    Raises:
        NoFiguresError: there is none.
    """
    try:
        document: dict[str, Any] = json.loads((out / FIGURES).read_text())
    except (OSError, ValueError) as error:
        raise NoFiguresError(
            f"No figures in {out / FIGURES} ({error}). Take them first: ./dev bench --peer"
        ) from None
    return document
