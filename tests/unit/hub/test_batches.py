"""A batch is what came meanwhile; nothing that was put is dropped."""

from __future__ import annotations

import threading

import pytest

from chamberlain_hub.dispatch.batches import Batches

WAIT_S = 5.0


def test_what_comes_while_a_batch_is_handled_is_the_next_batch() -> None:
    first, go_on, seen = threading.Event(), threading.Event(), []

    def handle(batch: list[int]) -> None:
        seen.append(batch)
        first.set()
        assert go_on.wait(WAIT_S)

    batches = Batches("test", handle)
    batches.start()
    batches.put(1)
    assert first.wait(WAIT_S)
    for number in (2, 3, 4):
        batches.put(number)
    go_on.set()
    batches.stop()
    assert seen == [[1], [2, 3, 4]]


def test_no_batch_is_larger_than_the_limit() -> None:
    seen: list[list[int]] = []
    batches: Batches[int] = Batches("test", seen.append, most=2)
    for number in range(5):
        batches.put(number)
    batches.start()
    batches.stop()
    assert seen == [[0, 1], [2, 3], [4]]


def test_a_batch_that_fails_is_handled_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[list[int]] = []
    done = threading.Event()

    def handle(batch: list[int]) -> None:
        tries.append(list(batch))
        if len(tries) < 3:
            raise OSError("not now")
        done.set()

    batches = Batches("test", handle)
    batches.start()
    batches.put(7)
    assert done.wait(WAIT_S)
    batches.stop()
    assert tries == [[7], [7], [7]]
    assert [getattr(record, "event", "") for record in caplog.records] == ["batch.failed"] * 2


def test_stopping_does_not_wait_for_what_never_succeeds() -> None:
    failed = threading.Event()

    def handle(_batch: list[int]) -> None:
        failed.set()
        raise OSError("never")

    batches = Batches("test", handle)
    batches.start()
    batches.put(1)
    assert failed.wait(WAIT_S)
    batches.stop(timeout_s=WAIT_S)
    assert batches._thread is not None
    assert not batches._thread.is_alive()
