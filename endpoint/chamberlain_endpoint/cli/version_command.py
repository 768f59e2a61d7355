"""`version`: what is installed, ours and what it rests on."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Final

import click

from chamberlain_endpoint.cli.group import cli, json_option, print_json

_SHOWN: Final = ("parsl", "pydantic", "jinja2", "supervisor")


@cli.command("version")
@json_option
def version_command(as_json: bool) -> None:
    """Show the versions of Chamberlain, of Python, and of what it rests on."""
    shown = versions()
    if as_json:
        print_json(shown)
        return
    for name, number in shown.items():
        click.echo(f"{name} {number}")


def versions() -> dict[str, str]:
    """Return name -> version of Chamberlain, of Python, and of what it rests on."""
    ours = {
        "chamberlain": importlib.metadata.version("chamberlain"),
        "python": platform.python_version(),
    }
    return ours | {name: importlib.metadata.version(name) for name in _SHOWN}
