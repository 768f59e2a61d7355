"""The audit log: whole, chained, and never written by two."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher import audit
from chamberlain_endpoint.launcher.audit import AuditError, AuditLog, BrokenChainError, Entry

SOME = Entry("launch", "granted", command="c", username="alice", uid=0, reason="rule 1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    made = AuditLog(path, clock=lambda: 0.0)
    made.open()
    yield made
    made.close()


def write(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.note(Entry("admit", "refused", reason=str(number)))


def test_a_line_tells_what_is_known_and_nothing_else(log: AuditLog, path: Path) -> None:
    log.note(SOME)
    assert json.loads(path.read_text()) == {
        "at": "1970-01-01T00:00:00.000+00:00",
        "action": "launch",
        "decision": "granted",
        "command": "c",
        "username": "alice",
        "uid": 0,
        "reason": "rule 1",
        "previous": audit.FIRST,
    }


def test_a_newline_in_a_name_makes_no_second_line(log: AuditLog, path: Path) -> None:
    log.note(Entry("admit", "refused", username='x\n{"action": "launch"}\u2028'))
    assert audit.verify(path) == 1


def test_the_chain_goes_on_after_a_restart(log: AuditLog, path: Path) -> None:
    write(log, 3)
    log.close()
    log.open()
    write(log, 2)
    assert audit.verify(path) == 5


def test_a_very_long_last_line_is_found_again(log: AuditLog, path: Path) -> None:
    write(log, 1)
    log.note(Entry("stop", "granted", reason="x" * 200_000))
    log.close()
    log.open()
    write(log, 1)
    assert audit.verify(path) == 3


def test_an_empty_log_is_whole(log: AuditLog, path: Path) -> None:
    assert audit.verify(path) == 0


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_line_is_found(log: AuditLog, path: Path, number: int) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"refused", b"granted")
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError, match=f"line {number + 2} "):
        audit.verify(path)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_line_is_found(log: AuditLog, path: Path, number: int) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError, match=f"line {number + 1} "):
        audit.verify(path)


@pytest.mark.parametrize("added", [b"garbage\n", b"{}\n", b'{"previous": "x"}\n'])
def test_an_inserted_line_is_found(log: AuditLog, path: Path, added: bytes) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(2, added)
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError):
        audit.verify(path)


def test_a_line_torn_by_a_crash_stays_and_is_covered(log: AuditLog, path: Path) -> None:
    write(log, 2)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    log.open()
    write(log, 2)
    assert audit.verify(path) == 4
    path.write_bytes(path.read_bytes().replace(whole[-30:-10], b"x" * 20))
    with pytest.raises(BrokenChainError):
        audit.verify(path)


def test_a_second_writer_is_refused(log: AuditLog, path: Path) -> None:
    with pytest.raises(AuditError):
        AuditLog(path).open()


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditError):
        AuditLog(path).open()


def test_the_file_is_its_owners_alone(log: AuditLog, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_cannot_be_written_is_an_error() -> None:
    full = AuditLog(Path("/dev/full"))
    full.open()
    try:
        with pytest.raises(AuditError, match=os.strerror(28)):
            full.note(SOME)
    finally:
        full.close()
