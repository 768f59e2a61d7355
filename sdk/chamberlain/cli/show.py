"""How the commands show things: tables for people, JSON for programs."""

from __future__ import annotations

import datetime
import functools
import json
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from chamberlain.errors import ChamberlainError, TaskExecutionFailed

_STATE_COLOURS: Final = {"success": "green", "failed": "red", "cancelled": "yellow"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@functools.cache
def client() -> Any:
    """Return the client that environment and configuration file describe."""
    from chamberlain.client import Client

    return Client(patience_s=15.0)


def told(error: BaseException) -> str:
    """Return `error` for people, with the remote traceback if there is one."""
    if isinstance(error, ChamberlainError):
        return str(error)
    remote = error.__cause__
    if isinstance(remote, TaskExecutionFailed):
        return str(remote)
    return "".join(traceback.format_exception_only(error)).strip()


def shown(value: Any) -> str:
    """Return a result for people: text as it is, else JSON, else as Python writes it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def print_json(value: Any) -> None:
    """Print `value` for programs."""
    click.echo(json.dumps(value, indent=2, default=repr))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print `rows` below `heads`, states in colour where there are colours."""
    lines = [heads, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        styled = [
            click.style(cell, bold=True)
            if number == 0
            else click.style(cell, fg=_STATE_COLOURS.get(cell.strip()))
            for cell in cells
        ]
        click.echo("  ".join(styled))


def when(at: float | None) -> str:
    """Return a UTC time in seconds as local date and time; empty for None."""
    if at is None:
        return ""
    return datetime.datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
