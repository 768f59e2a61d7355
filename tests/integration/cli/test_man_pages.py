"""Manual pages, as groff shows them to a reader."""

from __future__ import annotations

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


@pytest.mark.needs_groff
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
