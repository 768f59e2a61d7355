"""Claims of user endpoints in a chained log of their own."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.launcher import audit_chain
from chamberlain_endpoint.launcher.audit import AuditLog, Entry
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.settings import AuditSettings, OnWriteFailure
from chamberlain_endpoint.launcher.task_audit import TaskAudit
from chamberlain_wire.claims import Claim, What
from chamberlain_wire.ids import new_id

GRANTED = Entry(
    *("launch", "granted"),
    identity=new_id(),
    username="alice@example.edu",
    user_endpoint=new_id(),
    account="alice",
    uid=1001,
    reason="rule 7",
)


class Bench:
    def __init__(self, folder: Path, max_bytes: int = 1 << 30) -> None:
        self.path = folder / "tasks.log"
        settings = AuditSettings(OnWriteFailure.CONTINUE, max_bytes=max_bytes)
        self.log = AuditLog(self.path, settings)
        self.log.open()
        self.loop = Loop()
        self.tasks = TaskAudit(self.loop, self.log)

    def lines(self) -> list[dict[str, Any]]:
        return list(audit_chain.entries(self.path))

    def until_written(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.lines()) < count:
            assert time.monotonic() < deadline
            self.loop.turn()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.log.close()
    made.loop.close()


def test_a_line_says_who_says_so_and_whom_the_launcher_started(bench: Bench) -> None:
    claim = Claim(What.ENDED, new_id(), new_id(), "ab" * 32, "12.batch")
    bench.tasks.add(GRANTED, [claim])
    assert bench.lines() == []
    bench.until_written(1)
    (line,) = bench.lines()
    del line["at"], line["previous"]
    assert line == {
        "action": "task",
        "decision": "noted",
        "by": "user endpoint",
        "outcome": "ended",
        "task": claim.task,
        "function": claim.function,
        "code_sha256": claim.code_sha256,
        "job": "12.batch",
        "identity": GRANTED.identity,
        "username": "alice@example.edu",
        "user_endpoint": GRANTED.user_endpoint,
        "account": "alice",
        "uid": 1001,
    }


def test_a_batch_is_chained_line_by_line_over_files(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=5_000)
    for _ in range(5):
        bench.tasks.add(GRANTED, [Claim(What.RECEIVED, new_id()) for _ in range(20)])
        bench.tasks.flush()
    found = audit_chain.verify(bench.path)
    assert found.lines == 100
    assert found.files > 1
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"".join(lines[:5] + lines[6:]))
    with pytest.raises(audit_chain.BrokenChainError):
        audit_chain.verify(bench.path)
    bench.log.close()
    bench.loop.close()


def test_what_was_left_out_is_said(bench: Bench) -> None:
    bench.tasks.add(GRANTED, [Claim(What.RECEIVED, new_id(), missed=7)])
    bench.tasks.flush()
    assert bench.lines()[0]["missed"] == 7


def test_a_full_disk_loses_lines_counts_them_and_breaks_no_chain(bench: Bench) -> None:
    bench.tasks.add(GRANTED, [Claim(What.RECEIVED, new_id()) for _ in range(10)])
    bench.tasks.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = bench.path.stat().st_size
    # Room for two more lines and a part of the third.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 4, before[1]))
    try:
        for _ in range(3):
            bench.tasks.add(GRANTED, [Claim(What.STARTED, new_id()) for _ in range(10)])
            bench.tasks.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    bench.tasks.add(GRANTED, [Claim(What.ENDED, new_id())])
    bench.tasks.flush()
    audit_chain.verify(bench.path)
    lost, last = [line for line in bench.lines() if line.get("outcome") in {None, "ended"}]
    assert lost["reason"].startswith("30 lines could not be written since")
    assert last["outcome"] == "ended"


def test_twelve_hundred_tasks_a_second_are_a_small_part_of_a_core(bench: Bench) -> None:
    claims = [
        Claim(what, new_id(), new_id(), "ab" * 32)
        for _ in range(1_200)
        for what in (What.RECEIVED, What.STARTED, What.ENDED)
    ]
    began = time.process_time()
    for at in range(0, len(claims), 900):  # four batches a second
        bench.tasks.add(GRANTED, claims[at : at + 900])
        bench.tasks.flush()
    took_s = time.process_time() - began
    print(f"{len(claims)} lines: {took_s * 1000:.0f} ms of processor time")
    assert took_s < 0.5
    assert json.loads(bench.path.read_bytes().splitlines()[-1])["outcome"] == "ended"
