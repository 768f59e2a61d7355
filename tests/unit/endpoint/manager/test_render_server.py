"""The leash holds: whatever a template does, an answer comes, and the server goes on."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.manager_builders import TEMPLATE
from tests.unit.endpoint.manager.test_render import job

from chamberlain_endpoint.manager.render.client import RenderServer
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from devtools.processes import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RenderServer]:
    server = RenderServer()
    server.wake()
    yield server
    server.close()


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (LOOP, "it does not come to an end"),
        ("{{ 'a' * 10 ** 10 }}", "too much memory"),
        ("{{ [0] * 10 ** 9 }}", "too much memory"),
        ("[" * 200_000, "more time or memory than it may have"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    ],
    ids=["endless", "huge text", "huge list", "deep yaml", "recursion"],
)
def test_an_answer_comes_within_five_seconds(
    server: RenderServer, template: str, words: str
) -> None:
    server.render(job(TEMPLATE))
    began = time.monotonic()
    with pytest.raises(RenderRefusedError) as caught:
        server.render(job(template))
    assert time.monotonic() - began < 5.0
    assert words in caught.value.public
    assert server.render(job(TEMPLATE)).config


def test_a_schema_pattern_without_end_is_stopped(server: RenderServer) -> None:
    schema = {"properties": {"a": {"pattern": "^(x+)+$"}}}
    began = time.monotonic()
    with pytest.raises(RenderRefusedError):
        server.render(job(TEMPLATE, {"a": "x" * 40 + "!"}, json_schema=schema))
    assert time.monotonic() - began < 5.0


def test_a_server_that_was_killed_is_replaced() -> None:
    server = RenderServer()
    server.wake()
    try:
        server.render(job(TEMPLATE))
        os.kill(server.pid, 9)
        assert server.render(job(TEMPLATE)).config
    finally:
        server.close()


def test_it_ends_when_nobody_asks_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    server = RenderServer(idle_s=0.2)
    server.wake()
    try:
        assert server.render(job(TEMPLATE)).config
        pid = server.pid
        # A child that was not waited for is still there, but has no command line.
        assert wait_until(lambda: not Path(f"/proc/{pid}/cmdline").read_bytes(), 10.0)
        assert server.render(job(TEMPLATE)).config
        assert server.pid != pid
    finally:
        server.close()
    # Nothing went wrong, so nothing is said.
    assert not caplog.records


def test_one_that_cannot_start_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RenderServer()
    with monkeypatch.context() as changed:
        changed.setattr(sys, "executable", "/nowhere/python")
        server.wake()
    try:
        assert server.render(job(TEMPLATE)).config
    finally:
        server.close()


def test_a_question_at_the_moment_it_leaves_is_answered() -> None:
    server = RenderServer(idle_s=0.0)
    try:
        for _ in range(20):
            assert server.render(job(TEMPLATE)).config
    finally:
        server.close()


def test_it_ends_when_the_manager_does(server: RenderServer) -> None:
    other = RenderServer()
    other.wake()
    pid = other.pid
    other.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_render_has_one_socket_and_can_open_nothing(server: RenderServer) -> None:
    server.render(job(TEMPLATE))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.render, job(LOOP))
        child = wait_for_limited_child(server.pid)
        opened = {path.name: str(path.readlink()) for path in (child / "fd").iterdir()}
        assert [opened.pop(name) for name in "012"] == ["/dev/null"] * 3
        assert len(opened) == 1
        assert next(iter(opened.values())).startswith("socket:")
        limits = (child / "limits").read_text()
        for name in ("open files", "processes", "file size", "core file size"):
            assert re.search(rf"^Max {name} +0 +0 ", limits, re.MULTILINE), name
        with pytest.raises(RenderRefusedError):
            slow.result(10)


def wait_for_limited_child(server: int) -> Path:
    """Return the /proc folder of the render under way, once its leash is on."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            # One that has just ended may go while we look at it.
            with contextlib.suppress(OSError):
                limits = Path(f"/proc/{pid}/limits").read_text()
                leashed = re.search(r"^Max open files +0 +0 ", limits, re.MULTILINE)
                if leashed and len(list(Path(f"/proc/{pid}/fd").iterdir())) > 3:
                    return Path(f"/proc/{pid}")
    raise AssertionError("no render under way")
