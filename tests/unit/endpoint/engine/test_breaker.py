"""The breaker: opens after three failures in a row, and stays so over a restart."""

from __future__ import annotations

from pathlib import Path

from chamberlain_endpoint.engine.breaker import MOST_FAILURES, Breaker
from chamberlain_endpoint.engine.breaker_file import FILE_NAME, BreakerFile


def opened() -> Breaker:
    breaker = Breaker()
    for number in range(MOST_FAILURES):
        assert not breaker.is_open
        breaker = breaker.failed(f"reason {number}.", at=float(number))
    return breaker


def test_three_failures_in_a_row_open_it_and_the_last_reason_is_told() -> None:
    breaker = opened()
    assert breaker.is_open
    assert "3 blocks in a row failed. The last one: reason 2." in breaker.sentence()
    assert "reset-breaker" in breaker.sentence()


def test_it_is_the_same_for_the_next_process(tmp_path: Path) -> None:
    BreakerFile(tmp_path / FILE_NAME, "a").write(opened())
    assert BreakerFile(tmp_path / FILE_NAME, "a").read() == opened()


def test_another_configuration_gets_another_chance(tmp_path: Path) -> None:
    BreakerFile(tmp_path / FILE_NAME, "a").write(opened())
    assert BreakerFile(tmp_path / FILE_NAME, "b").read() == Breaker()


def test_a_file_that_is_gone_or_no_breaker_is_a_closed_one(tmp_path: Path) -> None:
    file = BreakerFile(tmp_path / FILE_NAME, "a")
    assert file.read() == Breaker()
    (tmp_path / FILE_NAME).write_text("{")
    assert file.read() == Breaker()


def test_what_is_well_again_leaves_no_file(tmp_path: Path) -> None:
    file = BreakerFile(tmp_path / FILE_NAME, "a")
    file.write(opened())
    file.write(Breaker())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    BreakerFile(tmp_path / "file" / FILE_NAME, "a").write(opened())
