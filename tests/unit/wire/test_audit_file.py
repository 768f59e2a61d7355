"""An audit log that several processes of one host write by turns, many lines at a time."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_wire import audit_chain
from chamberlain_wire.audit_chain import BrokenChainError
from chamberlain_wire.audit_file import AuditFile, Keeping

SHARED = Keeping(max_bytes=4096, keep_files=1000, shared=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def one(path: Path) -> Iterator[AuditFile]:
    made = AuditFile(path, SHARED)
    made.open()
    yield made
    made.close()


@pytest.fixture
def other(path: Path) -> Iterator[AuditFile]:
    made = AuditFile(path, SHARED)
    made.open()
    yield made
    made.close()


def reasons(path: Path) -> list[str]:
    return [str(line["reason"]) for line in audit_chain.entries(path)]


def batch(*words: str) -> list[dict[str, object]]:
    return [{"reason": word} for word in words]


def test_a_batch_is_as_many_lines_in_one_chain(one: AuditFile, path: Path) -> None:
    one.write(batch("a", "b", "c"))
    one.write(batch("d"))
    assert audit_chain.verify(path).lines == 4
    assert reasons(path) == ["a", "b", "c", "d"]


def test_two_writers_take_turns_in_one_chain(one: AuditFile, other: AuditFile, path: Path) -> None:
    for number in range(10):
        one.write(batch(f"one {number}"))
        other.write(batch(f"other {number}", f"other again {number}"))
    assert audit_chain.verify(path).lines == 30
    assert reasons(path)[:3] == ["one 0", "other 0", "other again 0"]


def test_a_writer_follows_the_other_into_a_new_file(
    one: AuditFile, other: AuditFile, path: Path
) -> None:
    one.write(batch("first"))
    other.write(batch("x" * 5000))
    other.write(batch("in the new file"))
    one.write(batch("also there"))
    assert len(audit_chain.full_files(path)) == 1
    assert [json.loads(line)["reason"] for line in path.read_text().splitlines()] == [
        "in the new file",
        "also there",
    ]
    assert audit_chain.verify(path).lines == 4


def test_what_another_writer_left_half_written_is_covered(one: AuditFile, path: Path) -> None:
    one.write(batch("before"))
    with path.open("ab") as crashed:
        crashed.write(b'{"at": "cut o')
    one.write(batch("after"))
    assert reasons(path) == ["before", "after"]
    assert audit_chain.verify(path).lines == 3


def test_four_processes_at_once_lose_nothing(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from chamberlain_wire.audit_file import AuditFile, Keeping\n"
        "log = AuditFile(Path(sys.argv[1]), Keeping(4096, 1000, shared=True)); log.open()\n"
        "for number in range(50): log.write([{'reason': f'{sys.argv[2]} {number}'}])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(number)])
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert audit_chain.verify(path).lines == 200
    assert len(set(reasons(path))) == 200


@pytest.mark.parametrize("room", [0, 1, 100, 150, 330])
def test_a_batch_that_did_not_fit_is_refused_and_counted(
    one: AuditFile, path: Path, room: int
) -> None:
    one.write(batch("before"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|No space"):
            one.write(batch("a", "b", "c"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    one.write(batch("after"))
    audit_chain.verify(path)
    found = reasons(path)
    assert found[0] == "before"
    assert found[-1] == "after"
    assert found[-2].startswith("3 lines could not be written since ")


def test_a_removed_file_is_found(one: AuditFile, path: Path) -> None:
    for number in range(60):
        one.write(batch(f"{number} " + "x" * 200))
    files = audit_chain.full_files(path)
    assert len(files) > 2
    for file in files.values():
        kept = file.read_bytes()
        file.unlink()
        with pytest.raises(BrokenChainError):
            audit_chain.verify(path)
        file.write_bytes(kept)
    audit_chain.verify(path)
