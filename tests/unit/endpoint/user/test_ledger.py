"""What the ledger promises: what was written is there after any crash, and moves forward only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.user.ledger import Ledger, LedgerError, Mark, Row, Turn
from chamberlain_wire.ids import TaskId

A, B, C = TaskId("a"), TaskId("b"), TaskId("c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    one = Ledger(path)
    one.open()
    yield one
    one.close()


def test_a_task_goes_from_started_to_finished_to_confirmed(ledger: Ledger) -> None:
    ledger.write(Turn(started=[A, B]), now=1.0)
    assert ledger.unfinished() == {A: Row(Mark.STARTED, 1), B: Row(Mark.STARTED, 1)}
    ledger.write(Turn(finished={A: b"result"}), now=2.0)
    assert ledger.unconfirmed() == {A: Row(Mark.FINISHED, 1, b"result")}
    assert set(ledger.unfinished()) == {B}
    ledger.write(Turn(confirmed=[A]), now=3.0)
    assert ledger.look([A, B, C]) == {A: Row(Mark.CONFIRMED, 1), B: Row(Mark.STARTED, 1)}


def test_all_of_it_is_there_for_the_next_process(ledger: Ledger, path: Path) -> None:
    ledger.write(Turn(started=[A], finished={B: b"x"}), now=1.0)
    # No close: the first process died.
    other = Ledger(path)
    other.open()
    assert other.look([A, B]) == {A: Row(Mark.STARTED, 1), B: Row(Mark.FINISHED, 0, b"x")}
    other.close()


def test_attempts_are_counted(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.write(Turn(started=[A]), now=1.0)
    assert ledger.look([A])[A].attempts == 3


def test_a_late_result_changes_nothing(ledger: Ledger) -> None:
    ledger.write(Turn(started=[A]), now=1.0)
    ledger.write(Turn(finished={A: b"first"}), now=1.0)
    ledger.write(Turn(finished={A: b"second"}), now=1.0)
    assert ledger.look([A])[A].result == b"first"
    ledger.write(Turn(confirmed=[A]), now=1.0)
    ledger.write(Turn(finished={A: b"third"}), now=1.0)
    assert ledger.look([A]) == {A: Row(Mark.CONFIRMED, 1)}


def test_only_what_was_confirmed_long_ago_is_forgotten(ledger: Ledger) -> None:
    ledger.write(Turn(finished={A: b"", B: b"", C: b""}), now=1.0)
    ledger.write(Turn(confirmed=[A]), now=10.0)
    ledger.write(Turn(confirmed=[B]), now=20.0)
    assert ledger.prune(confirmed_before=20.0) == 1
    assert set(ledger.look([A, B, C])) == {B, C}


def test_many_tasks_are_looked_up_at_once(ledger: Ledger) -> None:
    ids = [TaskId(f"task {number}") for number in range(1200)]
    ledger.write(Turn(started=ids), now=1.0)
    assert len(ledger.look([*ids, A])) == 1200


def test_a_turn_that_cannot_be_written_is_not_half_written(ledger: Ledger, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TRIGGER full AFTER UPDATE ON tasks BEGIN SELECT RAISE(ABORT, 'x'); END")
    other.close()
    ledger.write(Turn(started=[A]), now=1.0)
    with pytest.raises(LedgerError):
        ledger.write(Turn(started=[B], finished={A: b""}), now=1.0)
    assert set(ledger.look([A, B])) == {A}
    assert ledger.look([A])[A].mark is Mark.STARTED


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(LedgerError, match="format 99"):
        Ledger(path).open()


def test_a_file_that_is_no_ledger_is_refused(path: Path) -> None:
    path.write_text("hello " * 1000)
    with pytest.raises(LedgerError):
        Ledger(path).open()
