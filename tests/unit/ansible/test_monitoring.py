"""What the role `monitoring` asks of Prometheus exists in what hub and manager tell it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import generate_latest

from chamberlain_endpoint.manager.metrics import ManagerMetrics, Seen
from chamberlain_hub.metrics import Counts, HubMetrics

ROLE = Path(__file__).resolve().parents[3] / "ansible/roles/monitoring"
NAME = re.compile(r"\bchamberlain_[a-z_]+\b")
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


def told() -> set[str]:
    """Return the names that hub and manager tell, in the form in which queries use them."""
    hub, manager = HubMetrics(), ManagerMetrics()
    hub.watch(lambda: Counts(0, 0, 0, 0), lambda: True)
    manager.watch(lambda: Seen([], True, True, True))
    text = "".join(generate_latest(one.registry).decode() for one in (hub, manager))
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return {name + end for name, kind in kinds for end in SUFFIXES[kind]}


def expressions(document: Any) -> list[str]:
    """Return every `expr` of a document, at whatever depth."""
    if isinstance(document, dict):
        own = [document["expr"]] if "expr" in document else []
        return own + [one for value in document.values() for one in expressions(value)]
    if isinstance(document, list):
        return [one for value in document for one in expressions(value)]
    return []


def test_every_metric_of_the_dashboard_is_told() -> None:
    found = expressions(json.loads((ROLE / "files/dashboard.json").read_text()))
    assert len(found) > 20
    assert {name for one in found for name in NAME.findall(one)} <= told()


def test_every_metric_of_the_alerts_is_told() -> None:
    text = re.sub(r"\[\[ \w+ \]\]", "5", (ROLE / "templates/alerts.yml.j2").read_text())
    found = expressions(yaml.safe_load(text))
    assert len(found) > 10
    assert {name for one in found for name in NAME.findall(one)} <= told()


def test_panels_do_not_lie_on_one_another() -> None:
    panels = json.loads((ROLE / "files/dashboard.json").read_text())["panels"]
    cells = [
        (at["x"] + x, at["y"] + y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["w"])
        for y in range(at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in panels}) == len(panels)
