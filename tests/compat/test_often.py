"""A hub that limits how often somebody asks, and the public SDK."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hub.conftest import World, memory_side, memory_world, migrated, sqlite

from devtools import public

__all__ = ["memory_side", "memory_world", "migrated", "sqlite"]
pytestmark = pytest.mark.slow
TIMES = 24


@pytest.fixture
def world(memory_world: World) -> World:
    memory_world.restart(max_requests_per_10_s=20)
    return memory_world


def ask(world: World, folder: Path, how: str) -> Any:
    _, token = world.store.create_token(world.store.add_identity("a@b.org").id, "often", None)
    done = subprocess.run(
        [
            public.python(public.SDK_NEWEST),
            Path(__file__).with_name("often.py"),
            token,
            str(TIMES),
            how,
        ],
        # What it asks of `localhost:5000` goes to the hub's port, in a proxy's form.
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "http_proxy": world.base_url},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_waits_as_long_as_the_hub_says_and_goes_on(world: World, tmp_path: Path) -> None:
    said = ask(world, tmp_path, "patient")
    assert said["error"] is None
    assert said["took_s"] > 1


def test_without_patience_the_error_says_what_to_do(world: World, tmp_path: Path) -> None:
    status, code, message = ask(world, tmp_path, "hasty")["error"]
    assert (status, code) == (429, "MaxRequestsExceeded")
    assert message.startswith("More than 20 requests within 10 s. Ask again in 1 s")
