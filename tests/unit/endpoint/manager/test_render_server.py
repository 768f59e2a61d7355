"""The leash holds: whatever a template does, an answer comes, and the server goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.manager_builders import TEMPLATE
from tests.unit.endpoint.manager.test_render import job

from chamberlain_endpoint.manager.render.client import RenderServer
from chamberlain_endpoint.manager.render.job import RenderRefusedError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RenderServer]:
    server = RenderServer()
    server.open()
    yield server
    server.close()


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (LOOP, "it does not come to an end"),
        ("{{ 'a' * 10 ** 10 }}", "too much memory"),
        ("{{ [0] * 10 ** 9 }}", "too much memory"),
        ("[" * 200_000, "more time or memory"),
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
    server.open()
    try:
        server.render(job(TEMPLATE))
        os.kill(server.pid, 9)
        assert server.render(job(TEMPLATE)).config
    finally:
        server.close()


def test_it_ends_when_the_manager_does(server: RenderServer) -> None:
    other = RenderServer()
    other.open()
    pid = other.pid
    other.close()
    assert not Path(f"/proc/{pid}").exists()
