"""Standard input: the order, then the breath."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.user.lease import Lease
from chamberlain_endpoint.user.order import OrderInvalidError
from chamberlain_wire.limits import MAX_LAUNCH_BYTES


class Pipe:
    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.lease = Lease(self.read_end)

    def write(self, data: bytes) -> None:
        os.write(self.write_end, data)

    def close(self) -> None:
        os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe()
    yield one
    os.close(one.read_end)


def test_the_order_is_the_first_line(pipe: Pipe) -> None:
    pipe.write(b'{"v":')
    pipe.write(b"1}\n\n\n")
    assert pipe.lease.first_line(timeout_s=5.0) == b'{"v":1}'
    pipe.close()


def test_no_order_in_time_is_told(pipe: Pipe) -> None:
    pipe.write(b"half")
    with pytest.raises(OrderInvalidError, match=r"within 0 s"):
        pipe.lease.first_line(timeout_s=0.01)
    pipe.close()


def test_an_end_before_the_order_is_told(pipe: Pipe) -> None:
    pipe.close()
    with pytest.raises(OrderInvalidError, match="ended before"):
        pipe.lease.first_line(timeout_s=5.0)


def test_an_endless_order_is_refused(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_end, False)
    lost: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def read() -> None:
        try:
            pipe.lease.first_line(timeout_s=30.0)
        except OrderInvalidError as error:
            lost.put(error)

    reader = threading.Thread(target=read)
    reader.start()
    written = 0
    while reader.is_alive() and written < 2 * MAX_LAUNCH_BYTES:
        try:
            written += os.write(pipe.write_end, b"x" * 65536)
        except BlockingIOError:
            continue
    reader.join()
    assert "too long" in str(lost.get_nowait())
    pipe.close()


def test_a_closed_pipe_ends_the_lease(pipe: Pipe) -> None:
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()
    pipe.lease.watch(30.0, lost.put)
    pipe.write(b"\n")
    pipe.close()
    assert "closed" in lost.get(timeout=5.0)


def test_silence_ends_the_lease(pipe: Pipe) -> None:
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()
    pipe.lease.watch(0.05, lost.put)
    assert "silent" in lost.get(timeout=5.0)
    pipe.close()


def test_where_there_is_a_file_standard_input_may_end(pipe: Pipe, tmp_path: Path) -> None:
    file, lost = tmp_path / "lease", queue.SimpleQueue[str]()
    file.touch()
    pipe.lease.watch(0.5, lost.put, str(file))
    pipe.close()
    for _ in range(10):
        with pytest.raises(queue.Empty):
            lost.get(timeout=0.1)
        os.utime(file)
    assert "silent" in lost.get(timeout=10.0)


def test_a_file_that_is_not_there_counts_for_nothing(pipe: Pipe, tmp_path: Path) -> None:
    lost = queue.SimpleQueue[str]()
    pipe.lease.watch(30.0, lost.put, str(tmp_path / "lease"))
    pipe.close()
    assert "closed our standard input" in lost.get(timeout=10.0)
