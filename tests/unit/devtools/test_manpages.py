from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from devtools import manpages

PROGRAMS = sorted(manpages.PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_of_the_help_has_its_part(name: str) -> None:
    group = manpages.PROGRAMS[name]
    parts = re.findall(r"(?m)^\.SS (.*)$", manpages.page(name))
    for word in group.list_commands(click.Context(group, info_name=name)):
        assert any(part.replace("\\-", "-").split()[0] == word for part in parts)


def test_every_command_of_the_endpoint_takes_json() -> None:
    group = manpages.PROGRAMS["chamberlain-endpoint"]
    context = click.Context(group, info_name="chamberlain-endpoint")
    without = [
        words
        for words, command, _ in manpages.commands(group, context)
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert without == []


def test_a_line_that_begins_with_a_dot_is_no_request(tmp_path: Path) -> None:
    @click.group(help=".hidden files\n\n'quoted' first")
    def cli() -> None:
        pass

    manpages.PROGRAMS["x"] = cli
    try:
        text = manpages.page("x")
    finally:
        del manpages.PROGRAMS["x"]
    assert "\n\\&.hidden files\n" in text
    assert "\n\\&'quoted' first\n" in text
