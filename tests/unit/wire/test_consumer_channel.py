"""A consumer whose connection is being closed while it opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chamberlain_wire.broker.channels import ConsumerChannel


class Channel:
    """As pika's: it refuses every call when it is not open."""

    def __init__(self) -> None:
        self.is_open = True
        self.consumed = False
        self._then: list[Callable[[Any], None]] = []

    def add_on_close_callback(self, _call: Any) -> None:
        pass

    add_on_cancel_callback = add_on_close_callback

    def basic_qos(self, prefetch_count: int, callback: Callable[[Any], None]) -> None:
        assert self.is_open
        self._then.append(callback)

    def basic_consume(self, *_: Any, **__: Any) -> str:
        assert self.is_open
        self.consumed = True
        return "tag"

    def answer(self) -> None:
        for call in self._then:
            call(None)


class Connection:
    """Hands out one channel when it is told to."""

    def __init__(self) -> None:
        self.one = Channel()
        self._opened: list[Callable[[Any], None]] = []

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self._opened.append(on_open_callback)

    def open_it(self) -> None:
        for call in self._opened:
            call(self.one)


def consumer() -> tuple[ConsumerChannel, Connection]:
    connection = Connection()
    one = ConsumerChannel(
        "q", lambda _: None, prefetch=1, exclusive=False, on_refused=lambda _: None
    )
    one.attach(connection)
    return one, connection


def test_it_consumes_when_all_stays_open() -> None:
    _, connection = consumer()
    connection.open_it()
    connection.one.answer()
    assert connection.one.consumed


def test_nothing_is_asked_of_a_channel_that_closes_before_it_is_used() -> None:
    _, connection = consumer()
    connection.one.is_open = False
    connection.open_it()
    connection.one.answer()
    assert not connection.one.consumed


def test_nothing_is_asked_of_a_channel_that_closes_before_the_first_answer() -> None:
    _, connection = consumer()
    connection.open_it()
    connection.one.is_open = False
    connection.one.answer()
    assert not connection.one.consumed
