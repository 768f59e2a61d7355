"""The queues of a worker pool: whoever is killed takes nothing from the others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chamberlain_endpoint.engine.direct_queue import DirectContext, DirectQueue

pytestmark = pytest.mark.slow
WAIT_S = 30.0
WAITING = {str(number) for number in (7, 271, 202, 73, 98)}
"""`poll`, `ppoll` and `futex`, by their numbers on x86-64 and on arm64."""


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_reader_leaves_the_queue_to_the_other(victim: int) -> None:
    context = DirectContext()
    tasks = context.Queue()
    # Each takes one object, and ends.
    readers = [
        context.Process(target=DirectQueue.get, args=(tasks, True, WAIT_S)) for _ in range(2)
    ]
    for reader in readers:
        reader.start()
    try:
        wait_asleep(*(reader.pid for reader in readers))
        killed, other = readers[victim], readers[1 - victim]
        killed.kill()
        killed.join(WAIT_S)
        tasks.put("task")
        other.join(WAIT_S / 2)
        assert other.exitcode == 0
    finally:
        for reader in readers:
            reader.kill()
            reader.join()
        tasks.close()
        tasks.join_thread()


def wait_asleep(*pids: int | None) -> None:
    """Return when all of them wait for an object, or for whoever waits for one."""
    deadline, seen = time.monotonic() + WAIT_S, 0
    while seen < 20:
        assert time.monotonic() < deadline
        seen = seen + 1 if all(call_of(pid) in WAITING for pid in pids) else 0
        time.sleep(0.05)


def call_of(pid: int | None) -> str:
    """Return the number of the system call that a process is in."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0]
