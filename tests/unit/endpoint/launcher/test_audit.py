"""The audit log: whole, chained, and never written by two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher.audit import AuditError, AuditLog, Entry
from chamberlain_wire import audit_chain
from chamberlain_wire.audit_chain import BrokenChainError

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
        "previous": audit_chain.FIRST,
    }


def test_a_newline_in_a_name_makes_no_second_line(log: AuditLog, path: Path) -> None:
    log.note(Entry("admit", "refused", username='x\n{"action": "launch"}\u2028'))
    assert audit_chain.verify(path).lines == 1


def test_the_chain_goes_on_after_a_restart(log: AuditLog, path: Path) -> None:
    write(log, 3)
    log.close()
    log.open()
    write(log, 2)
    assert audit_chain.verify(path).lines == 5


def test_a_very_long_last_line_is_found_again(log: AuditLog, path: Path) -> None:
    write(log, 1)
    log.note(Entry("stop", "granted", reason="x" * 200_000))
    log.close()
    log.open()
    write(log, 1)
    assert audit_chain.verify(path).lines == 3


def test_an_empty_log_is_whole(log: AuditLog, path: Path) -> None:
    assert audit_chain.verify(path).lines == 0


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_line_is_found(log: AuditLog, path: Path, number: int) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"refused", b"granted")
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError, match=f"line {number + 2} "):
        audit_chain.verify(path)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_line_is_found(log: AuditLog, path: Path, number: int) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError, match=f"line {number + 1} "):
        audit_chain.verify(path)


@pytest.mark.parametrize("added", [b"garbage\n", b"{}\n", b'{"previous": "x"}\n'])
def test_an_inserted_line_is_found(log: AuditLog, path: Path, added: bytes) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(2, added)
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenChainError):
        audit_chain.verify(path)


def test_a_line_torn_by_a_crash_stays_and_is_covered(log: AuditLog, path: Path) -> None:
    write(log, 1)
    head = audit_chain.head_path(path).read_bytes()
    write(log, 1)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    audit_chain.head_path(path).write_bytes(head)
    log.open()
    write(log, 2)
    assert audit_chain.verify(path).lines == 4
    path.write_bytes(path.read_bytes().replace(whole[-30:-10], b"x" * 20))
    with pytest.raises(BrokenChainError):
        audit_chain.verify(path)


def test_a_second_writer_is_refused(log: AuditLog, path: Path) -> None:
    with pytest.raises(AuditError):
        AuditLog(path).open()


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditError):
        AuditLog(path).open()


def test_the_file_is_its_owners_alone(log: AuditLog, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", range(30))
def test_one_changed_byte_is_found_wherever_it_is(log: AuditLog, path: Path, number: int) -> None:
    write(log, 4)
    whole = bytearray(path.read_bytes())
    at = number * len(whole) // 30
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(BrokenChainError):
        audit_chain.verify(path)


@pytest.mark.parametrize("kept", range(4))
def test_a_tail_that_was_cut_off_is_found(log: AuditLog, path: Path, kept: int) -> None:
    write(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(BrokenChainError, match=f"{4 - kept} of 4 lines behind line {kept}"):
        audit_chain.verify(path)


def test_a_cut_off_tail_stays_visible_after_the_next_start(log: AuditLog, path: Path) -> None:
    write(log, 4)
    log.close()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    log.open()
    write(log, 3)
    assert "does not hold line 4" in path.read_text()
    with pytest.raises(BrokenChainError, match="line 3 does not follow"):
        audit_chain.verify(path)


def test_a_head_that_is_behind_after_a_power_cut_is_no_fault(log: AuditLog, path: Path) -> None:
    write(log, 2)
    head = audit_chain.head_path(path).read_bytes()
    write(log, 3)
    log.close()
    audit_chain.head_path(path).write_bytes(head)
    assert audit_chain.verify(path).lines == 5
    log.open()
    write(log, 1)
    assert audit_chain.verify(path).lines == 6


def test_a_lost_head_is_told(log: AuditLog, path: Path) -> None:
    write(log, 2)
    log.close()
    audit_chain.head_path(path).unlink()
    with pytest.raises(BrokenChainError, match="head is missing"):
        audit_chain.verify(path)
    log.open()
    assert "no head file" in path.read_text()
    assert audit_chain.verify(path).lines == 3
