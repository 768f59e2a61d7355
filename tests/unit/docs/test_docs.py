"""The pages say what the tree says: links lead somewhere, named files hold the named things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_NAMED = re.compile(
    r"`((?:wire|sdk|hub|endpoint|devtools|tests|examples|bench)/[\w./-]*)(?:: (\w+))?`"
)


def test_there_are_pages() -> None:
    assert len(PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = _LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_file_exists_and_has_the_named_thing(page: Path) -> None:
    missing = []
    for path, name in _NAMED.findall(page.read_text()):
        place = ROOT / path
        if not place.exists():
            missing.append(path)
        elif name and not re.search(rf"\b(?:class|def) {name}\b", place.read_text()):
            missing.append(f"{path}: {name}")
    assert missing == []


def test_every_event_of_the_path_is_one_that_the_programs_log() -> None:
    rows = (ROOT / "docs/path-of-a-task.md").read_text().partition("## A newcomer asks")[0]
    told = {
        event
        for row in rows.splitlines()
        if row.startswith("|")
        for event in re.findall(r"`([a-z_]+\.[a-z_]+)`", row.rsplit("|", 2)[1])
    }
    packages = [ROOT / name for name in ("wire", "sdk", "hub", "endpoint")]
    code = "".join(path.read_text() for package in packages for path in package.rglob("*.py"))
    assert len(told) > 5
    assert {event for event in told if f'"{event}"' not in code} == set()
