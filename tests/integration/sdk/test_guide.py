"""The researchers' page does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.integration.sdk import guide
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub

import chamberlain

pytestmark = pytest.mark.needs_rabbit


def test_the_pages_python_prints_what_it_says(hub: StandInHub, tmp_path: Path) -> None:
    told = {"CHAMBERLAIN_HUB_URL": hub.url, "CHAMBERLAIN_TOKEN": TOKEN, "ENDPOINT": ENDPOINT}
    ran = guide.run_python(tmp_path, told)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.said == guide.expected()
    assert len(ran.said) > 15


def test_the_pages_commands_run(hub: StandInHub, tmp_path: Path) -> None:
    ran = guide.run_shell(tmp_path, {"ENDPOINT": ENDPOINT}, hub.url, TOKEN)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.said[0].startswith("You are alice@example.edu at ")
    assert "hello worldhello world" in ran.said


@pytest.mark.parametrize("name", chamberlain.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", guide.PAGE.read_text())
