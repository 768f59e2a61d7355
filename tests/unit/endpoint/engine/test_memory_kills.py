"""A kill for memory is told once, in both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain_endpoint.engine.memory_kills import MemoryKills

V2 = {"limit": "memory.max", "kills": "memory.events", "text": "max 5\noom 2\noom_kill {}\n"}
V1 = {
    "limit": "memory.limit_in_bytes",
    "kills": "memory.oom_control",
    "text": "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n",
}


def group(folder: Path, version: dict[str, str], kills: int, limit: str = "629145600") -> None:
    (folder / version["limit"]).write_text(f"{limit}\n")
    (folder / version["kills"]).write_text(version["text"].format(kills))


@pytest.mark.parametrize("version", [V1, V2])
def test_each_kill_is_told_once_with_the_limit(tmp_path: Path, version: dict[str, str]) -> None:
    group(tmp_path, version, kills=3)
    watched = MemoryKills(tmp_path)
    assert watched.sentence() == "", "those were before us"
    group(tmp_path, version, kills=5)
    said = watched.sentence()
    assert "600 MiB" in said
    assert "out of memory" in said
    assert watched.sentence() == said
    assert watched.sentence() == ""


@pytest.mark.parametrize(("version", "limit"), [(V1, "9223372036854771712"), (V2, "max")])
def test_without_a_limit_nothing_is_blamed_on_the_site(
    tmp_path: Path, version: dict[str, str], limit: str
) -> None:
    group(tmp_path, version, kills=0, limit=limit)
    watched = MemoryKills(tmp_path)
    group(tmp_path, version, kills=1, limit=limit)
    assert watched.sentence() == ""


def test_a_group_that_cannot_be_seen_says_nothing(tmp_path: Path) -> None:
    assert MemoryKills(tmp_path / "away").sentence() == ""
    assert MemoryKills().sentence() == ""
