"""What a future says when versions met that do not go together."""

from __future__ import annotations

from concurrent.futures import Future
from importlib.metadata import version
from typing import Any

import pytest
from parsl.executors.high_throughput.errors import VersionMismatch

from chamberlain_endpoint.engine.versions import OtherVersionsError, judged

OURS = version("chamberlain")


def answer(result: object = None, error: Exception | None = None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


def test_a_worker_of_our_version_is_welcome() -> None:
    good = answer(("node1", 7, OURS))
    assert judged(good) is good


@pytest.mark.parametrize(
    ("told", "named"),
    [(("node1", 7, "0.0.9"), "0.0.9"), (("node1", 7), "older"), (("node1", 7, None), "older")],
)
def test_another_version_of_ours_is_named_with_its_node(told: object, named: str) -> None:
    error = judged(answer(told)).exception()
    assert isinstance(error, OtherVersionsError)
    assert named in error.public
    assert "node1" in error.public
    assert f"Chamberlain {OURS}" in error.public


def test_parsls_word_for_other_versions_is_put_into_ours() -> None:
    theirs = VersionMismatch("py.v=3.13 parsl.v=2026.10.26", "py.v=3.9 parsl.v=2025.01.06")
    text = str(judged(answer(error=RuntimeError(f"failed due to: {theirs}"))).exception())
    assert text.startswith("a node has Python 3.9 with Parsl 2025.01.06, the user endpoint has")
    assert "Python 3.13 with Parsl 2026.10.26" in text


def test_any_other_error_stays_what_it_is() -> None:
    other = answer(error=ValueError("no"))
    assert judged(other) is other
