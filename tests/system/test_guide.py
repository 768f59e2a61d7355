"""The researchers' page on a real site."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.sdk import guide
from tests.system.conftest import ALICE

from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]


@pytest.fixture
def alice(site: Site) -> dict[str, str]:
    return {
        "CHAMBERLAIN_HUB_URL": site.hub_url,
        "CHAMBERLAIN_TOKEN": site.tokens[ALICE],
        "ENDPOINT": site.endpoint_id,
    }


def test_the_pages_python_prints_what_it_says(alice: dict[str, str], tmp_path: Path) -> None:
    ran = guide.run_python(tmp_path, alice)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.said == guide.expected()


def test_the_pages_commands_run(alice: dict[str, str], tmp_path: Path) -> None:
    url, token = alice["CHAMBERLAIN_HUB_URL"], alice["CHAMBERLAIN_TOKEN"]
    ran = guide.run_shell(tmp_path, {"ENDPOINT": alice["ENDPOINT"]}, url, token)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.said[0].startswith(f"You are {ALICE} at ")
    assert "hello worldhello world" in ran.said
