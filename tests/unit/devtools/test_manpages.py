from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from devtools import manpages

PROGRAMS = sorted(manpages.PROGRAMS)


def _shown(page: Path) -> str:
    """Return a page as a reader sees it, on one long line."""
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-rLL=400n", "-P-cbou", str(page)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return " ".join(done.stdout.replace("\u2010", "-").replace("\u2212", "-").split())


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_page_says_what_help_says(name: str, tmp_path: Path) -> None:
    manpages.main(tmp_path)
    shown = _shown(tmp_path / f"{name}.1")
    group = manpages.PROGRAMS[name]
    context = click.Context(group, info_name=name)
    every = [((), group, context), *manpages.commands(group, context)]
    assert len(every) > 4
    for _, command, inner in every:
        for parameter in command.get_params(inner):
            record = parameter.get_help_record(inner)
            for part in record or ():
                assert " ".join(part.split()) in shown
        first = (command.help or "").strip().split("\n\n")[0]
        assert first, inner.command_path
        assert " ".join(first.split()) in shown


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
