"""What we add to `details`: read wherever it came from, and only when it has its shape."""

from __future__ import annotations

from typing import Any

import pytest

from chamberlain_wire import details
from chamberlain_wire.details import Output, Stream, Usage
from chamberlain_wire.messages import Result


def result(told: dict[str, Any] | None = None, **more: Any) -> Result:
    return Result(task_id="t", data="", details=told, **more)


def test_what_older_workers_of_ours_put_elsewhere_is_read() -> None:
    old = result(exception="packed", usage={"cpu_s": 0.5, "node": "n"})
    assert details.exception_of(old) == "packed"
    assert details.usage_of(old) == Usage(cpu_s=0.5)
    assert details.output_of(old) is None


@pytest.mark.parametrize("told", [None, {}, {"output": 1, "usage": "x", "exception": {}}])
def test_what_is_not_told_is_none(told: dict[str, Any] | None) -> None:
    one = result(told)
    found = (details.exception_of(one), details.usage_of(one), details.output_of(one))
    assert found == (None, None, None)


def test_the_public_part_is_what_is_left() -> None:
    told = {"os": "Linux", "output": {}, "usage": {}, "exception": "x"}
    assert details.plain(told) == {"os": "Linux"}
    assert details.plain(None) is None


@pytest.mark.parametrize("cut", range(1, 5))
def test_an_end_begins_with_a_whole_character(cut: int) -> None:
    text = "\U0001f600abc"
    stream = details.tail(text.encode()[cut:], cut)
    assert stream == Stream(text="abc", cut_bytes=4)


def test_what_is_no_text_is_replaced_and_a_whole_stream_is_kept() -> None:
    assert details.tail(b"\x80\xffa") == Stream(text="\ufffd\ufffda")


def test_half_a_surrogate_pair_does_not_stop_the_reader() -> None:
    told = {"output": {"stdout": {"text": "\ud800a"}}}
    assert details.output_of(result(told)) == Output(stdout=Stream(text="\ud800a"))
