"""docs/reference/metrics.md names each metric that there is, with its kind and labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from chamberlain_endpoint.manager.metrics import ManagerMetrics
from chamberlain_endpoint.manager.metrics import Seen as ManagerSees
from chamberlain_hub.metrics import Counts, HubMetrics

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"\| `(chamberlain_(\w+?)_\w+)` \| (\w+) \| ([^|]*)\| ")

Described = dict[str, tuple[str, list[str]]]


def hub() -> CollectorRegistry:
    metrics = HubMetrics()
    metrics.watch(lambda: Counts(0, 0, 0, 0), lambda: True)
    metrics.request("GET", "/x", 200)
    metrics.moved("success")
    metrics.database("read", 0.1)
    return metrics.registry


def manager() -> CollectorRegistry:
    metrics = ManagerMetrics()
    metrics.watch(lambda: ManagerSees([], True, True, True))
    metrics.refused("SITE_FULL")
    metrics.ended(clean=True)
    return metrics.registry


def in_code(registry: CollectorRegistry) -> Described:
    found: Described = {}
    for family in registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name] = (family.type, sorted(labels))
    return found


@pytest.mark.parametrize(
    ("which", "registry"), [("hub", hub()), ("manager", manager())], ids=["hub", "manager"]
)
def test_the_page_describes_what_there_is(which: str, registry: CollectorRegistry) -> None:
    described: Described = {
        name: (kind, sorted(re.findall(r"`(\w+)`", labels)))
        for name, program, kind, labels in ROW.findall(PAGE.read_text())
        if program == which
    }
    assert described == in_code(registry)


def test_a_label_never_grows_with_use() -> None:
    every = in_code(hub()) | in_code(manager())
    labels = {label for _, names in every.values() for label in names}
    assert labels == {"method", "route", "status", "state", "kind", "code", "clean"}
    metrics = ManagerMetrics()
    metrics.refused("whatever the launcher said")
    assert metrics.registry.get_sample_value(
        "chamberlain_manager_refusals_total", {"code": "other"}
    )
