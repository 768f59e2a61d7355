"""The audit log over several files, and on a disk that is full."""

from __future__ import annotations

import itertools
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher.audit import AuditError, AuditLog, Entry
from chamberlain_endpoint.launcher.settings import AuditSettings, OnWriteFailure
from chamberlain_wire import audit_chain
from chamberlain_wire.audit_chain import BrokenChainError

SMALL = AuditSettings(max_bytes=1000, keep_files=1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@contextmanager
def opened(path: Path, settings: AuditSettings = SMALL) -> Iterator[AuditLog]:
    log = AuditLog(path, settings)
    log.open()
    yield log
    log.close()


def write(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.note(Entry("admit", "refused", reason=f"number {number}"))


def reasons(path: Path) -> list[str]:
    return [str(document.get("reason")) for document in audit_chain.entries(path)]


def test_full_files_are_numbered_and_the_chain_goes_through_them(path: Path) -> None:
    with opened(path) as log:
        write(log, 50)
    files = audit_chain.full_files(path)
    assert list(files) == list(range(1, len(files) + 1))
    assert len(files) > 4
    assert all(file.stat().st_size < 1300 for file in files.values())
    last = audit_chain.digests(files[len(files)])[-1]
    assert audit_chain.first_previous(path) == last
    assert audit_chain.verify(path).lines == 50
    assert reasons(path) == [f"number {number}" for number in range(50)]


def test_the_chain_goes_on_over_files_and_restarts(path: Path) -> None:
    for _ in range(20):
        with opened(path) as log:
            write(log, 3)
    assert audit_chain.verify(path).lines == 60


def test_a_host_that_goes_down_in_a_rotation_loses_no_line(path: Path) -> None:
    with opened(path) as log:
        write(log, 4)
    path.rename(path.with_name("audit.log.1"))
    with opened(path) as log:
        write(log, 4)
    assert audit_chain.verify(path).lines == 8


@pytest.mark.parametrize("what", ["byte", "line", "file", "tail"])
def test_a_change_in_any_full_file_is_named(path: Path, what: str) -> None:
    with opened(path) as log:
        write(log, 40)
    for number, file in audit_chain.full_files(path).items():
        whole = file.read_bytes()
        lines = whole.splitlines(keepends=True)
        if what == "byte":
            file.write_bytes(whole.replace(b"number", b"numbex", 1))
        elif what == "line":
            file.write_bytes(b"".join(lines[:1] + lines[2:]))
        elif what == "tail":
            file.write_bytes(b"".join(lines[:-1]))
        else:
            file.unlink()
        following = [f"log.{number}: line", f"log.{number + 1}: line", "audit.log: line"]
        with pytest.raises(BrokenChainError) as caught:
            audit_chain.verify(path)
        assert any(place in str(caught.value) for place in following)
        file.write_bytes(whole)
    assert audit_chain.verify(path).lines == 40


def test_only_so_many_files_are_kept_and_what_is_kept_is_whole(path: Path) -> None:
    settings = AuditSettings(max_bytes=1000, keep_files=3)
    with opened(path, settings) as log:
        write(log, 100)
    files = audit_chain.full_files(path)
    assert len(files) == 3
    assert min(files) > 10
    found = audit_chain.verify(path)
    assert found.dropped + found.lines == 100
    assert found.dropped > 50
    with opened(path, settings) as log:
        write(log, 1)
    assert audit_chain.verify(path).lines + found.dropped == 101
    files[min(files)].unlink()
    with pytest.raises(BrokenChainError):
        audit_chain.verify(path)


def test_it_can_be_verified_while_it_is_written_and_rotated(path: Path) -> None:
    settings = AuditSettings(max_bytes=2000, keep_files=5)
    done = threading.Event()
    counts: list[int] = []

    def look() -> None:
        while not done.is_set():
            found = audit_chain.verify(path)
            counts.append(found.lines + found.dropped)

    with opened(path, settings) as log:
        write(log, 1)
        looker = threading.Thread(target=look)
        looker.start()
        write(log, 300)
        done.set()
        looker.join()
    # One line may be on its way while it is looked at.
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(counts))
    found = audit_chain.verify(path)
    assert found.lines + found.dropped == 301


@contextmanager
def full_above(size: int) -> Iterator[None]:
    """Let no file of this process grow above `size` bytes, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_cannot_be_written_is_refused_and_counted(path: Path) -> None:
    with opened(path, AuditSettings()) as log:
        write(log, 2)
        with full_above(path.stat().st_size + 40):
            for _ in range(3):
                with pytest.raises(AuditError):
                    write(log, 1)
        write(log, 1)
    assert "3 lines could not be written since" in reasons(path)[-2]
    assert reasons(path)[-1] == "number 0"
    assert audit_chain.verify(path).lines == 2 + 1 + 2  # one was torn


def test_a_site_may_choose_to_go_on_without_the_line(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = AuditSettings(on_write_failure=OnWriteFailure.CONTINUE)
    with opened(path, settings) as log:
        write(log, 2)
        with full_above(path.stat().st_size):
            write(log, 3)
        write(log, 1)
    assert [record.__dict__["event"] for record in caplog.records] == ["audit.failed"] * 3
    assert [record.__dict__["count"] for record in caplog.records] == [1, 2, 3]
    assert "3 lines could not be written since" in reasons(path)[-2]
    assert audit_chain.verify(path).lines == 4


def test_a_log_that_cannot_be_rotated_goes_on_in_its_file(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.with_name("audit.log.new").mkdir()
    with opened(path) as log:
        write(log, 20)
    assert audit_chain.full_files(path) == {}
    assert audit_chain.verify(path).lines == 20
    assert {record.__dict__["event"] for record in caplog.records} == {"audit.not_rotated"}
