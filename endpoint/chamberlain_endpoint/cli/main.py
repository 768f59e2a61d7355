"""Runs the command line; the commands are in modules that the group loads when they are asked.

Exit codes: 0 done, 1 could not (the sentence says why), 2 the command makes no sense.
"""

from __future__ import annotations

import json
import sys

import click

from chamberlain_endpoint.cli.group import PROGRAM, cli
from chamberlain_wire.errors import ChamberlainError


def main() -> None:
    """Run the command line; ends the program."""
    try:
        cli(prog_name=PROGRAM)
    except ChamberlainError as error:
        if "--json" in sys.argv:
            document = {"error": {"code": error.code, "message": error.public}}
            click.echo(json.dumps(document), err=True)
        else:
            click.echo(f"{PROGRAM}: {error.public}", err=True)
        sys.exit(1)
