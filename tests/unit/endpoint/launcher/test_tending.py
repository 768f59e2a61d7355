"""Without a launcher, what ends is removed; with the next one, nothing is touched any more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.launcher.runtime.faults import EngineDownError
from chamberlain_endpoint.launcher.runtime.tending import Tending

LABEL = "generation"


class Engine:
    """Plays an engine with containers by their generation."""

    def __init__(self, *names: str) -> None:
        self.running = dict.fromkeys(names, True)
        self.is_down = False

    def list(self, endpoint: str) -> list[dict[str, Any]]:
        if self.is_down:
            raise EngineDownError(endpoint)
        return [
            {"container": name, "labels": {LABEL: name}, "running": running}
            for name, running in self.running.items()
        ]

    def remove(self, container: str) -> None:
        del self.running[container]


@pytest.fixture
def leases(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    return tmp_path


def test_what_ended_is_removed_with_its_lease_and_the_last_one_is_the_end(leases: Path) -> None:
    engine = Engine("a", "b", "of somebody else")
    tending = Tending(engine, "e", LABEL, leases)
    assert not tending.is_over()
    engine.running |= {"a": False, "of somebody else": False}
    assert not tending.is_over()
    assert set(engine.running) == {"b", "of somebody else"}
    assert [file.name for file in leases.iterdir()] == ["b"]
    engine.running["b"] = False
    assert tending.is_over()
    assert set(engine.running) == {"of somebody else"}


def test_what_the_engine_does_not_know_is_forgotten(leases: Path) -> None:
    assert Tending(Engine(), "e", LABEL, leases).is_over()
    assert list(leases.iterdir()) == []


@pytest.mark.parametrize("how", ["renews", "removes"])
def test_a_launcher_that_goes_on_with_one_has_them_all(leases: Path, how: str) -> None:
    engine = Engine("a", "b")
    tending = Tending(engine, "e", LABEL, leases)
    if how == "renews":
        os.utime(leases / "a", (1, 1))
    else:
        (leases / "a").unlink()
    engine.running["b"] = False
    assert tending.is_over()
    assert "b" in engine.running


def test_an_engine_that_is_down_is_asked_again(leases: Path) -> None:
    engine = Engine("a", "b")
    tending = Tending(engine, "e", LABEL, leases)
    engine.running = dict.fromkeys(engine.running, False)
    engine.is_down = True
    assert not tending.is_over()
    engine.is_down = False
    assert tending.is_over()
    assert engine.running == {}


def test_without_a_container_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert Tending(Engine(), "e", LABEL, tmp_path / "missing").is_over()
