"""The loop: descriptors, moments, and faults that end nothing."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator

import pytest

from chamberlain_endpoint.launcher.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_moments_come_in_their_order(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0.02, loop.stop)
    loop.call_later(0.01, lambda: seen.append("second"))
    loop.call_later(0.0, lambda: seen.append("first"))
    loop.call_later(0.0, lambda: seen.append("never")).cancel()
    loop.run()
    assert seen == ["first", "second"]


def test_a_fault_in_one_callback_is_logged_and_the_others_go_on(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_later(0.0, lambda: 1 // 0)
    loop.call_later(0.0, loop.stop)
    with caplog.at_level(logging.ERROR):
        loop.run()
    assert [record.__dict__["event"] for record in caplog.records] == ["launcher.fault"]


def test_a_descriptor_may_be_forgotten_by_what_it_called(loop: Loop) -> None:
    heard, told = os.pipe()
    os.write(told, b"xx")
    seen: list[bytes] = []

    def take() -> None:
        seen.append(os.read(heard, 1))
        loop.forget(heard)
        loop.forget(heard)

    loop.on_readable(heard, take)
    loop.call_later(0.01, loop.stop)
    loop.run()
    assert seen == [b"x"]
    os.close(heard)
    os.close(told)


def test_a_descriptor_can_be_watched_for_both_and_then_for_one(loop: Loop) -> None:
    left, right = socket.socketpair()
    seen: list[str] = []

    def write() -> None:
        seen.append("write")
        loop.on_writable(left.fileno(), None)
        right.send(b"x")

    def read() -> None:
        seen.append("read")
        loop.stop()

    loop.on_readable(left.fileno(), read)
    loop.on_writable(left.fileno(), write)
    loop.run()
    assert seen == ["write", "read"]
    loop.forget(left.fileno())
    left.close()
    right.close()
