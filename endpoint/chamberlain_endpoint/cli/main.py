"""Runs the command line; the commands themselves are in the modules that it loads.

Exit codes: 0 done, 1 could not (the sentence says why), 2 the command makes no sense.
"""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from chamberlain_endpoint.cli import (
    audit,
    boot_commands,
    breaker_commands,
    check_commands,
    configure_command,
    drain_commands,
    function_commands,
    help_commands,
    image_commands,
    import_command,
    life_commands,
    lint_commands,
    pam_service,
    shell_commands,
    token_commands,
    user_endpoints,
)
from chamberlain_endpoint.cli.group import PROGRAM, cli
from chamberlain_wire.errors import ChamberlainError

COMMANDS: Final = (
    configure_command,
    image_commands,
    import_command,
    life_commands,
    drain_commands,
    token_commands,
    boot_commands,
    check_commands,
    lint_commands,
    pam_service,
    function_commands,
    audit,
    user_endpoints,
    breaker_commands,
    help_commands,
    shell_commands,
)
"""The modules whose commands the group has: loading them is what adds them."""


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
