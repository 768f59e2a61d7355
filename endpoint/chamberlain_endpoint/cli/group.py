"""What all commands share: the group, the common options, and how answers are written.

Exit codes: 0 done and nothing found, 1 could not or found something (the sentences say what),
2 the command makes no sense. Answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PROGRAM: Final = "chamberlain-endpoint"
READABLE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

PLACES: Final = {
    "audit": "audit",
    "backup": "backups",
    "check-config": "check_commands",
    "completion": "shell_commands",
    "configure": "configure_command",
    "delete": "life_commands",
    "diagnostic": "help_commands",
    "disable-on-boot": "boot_commands",
    "doctor": "help_commands",
    "drain": "drain_commands",
    "enable-on-boot": "boot_commands",
    "functions": "function_commands",
    "image": "image_commands",
    "import": "import_command",
    "lint": "lint_commands",
    "list": "life_commands",
    "login": "token_commands",
    "logout": "token_commands",
    "pam-service": "pam_service",
    "render-user-config": "check_commands",
    "reset-breaker": "breaker_commands",
    "restart": "life_commands",
    "restore": "backups",
    "resume": "drain_commands",
    "start": "life_commands",
    "stop": "life_commands",
    "trust": "trust",
    "user-endpoints": "user_endpoints",
    "validate-mapping": "check_commands",
    "version": "version_command",
    "whoami": "token_commands",
}
"""Module of this folder that adds a command to the group when it is loaded."""


class _Commands(click.Group):
    """Loads a command's module when it is wanted: all of them take a second, at each Tab."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (place := PLACES.get(cmd_name)) is not None:
            importlib.import_module(f"chamberlain_endpoint.cli.{place}")
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(package_name="chamberlain", prog_name=PROGRAM)
def cli() -> None:
    """Set up and run a compute endpoint on a login node.

    \b
    As root:        many people, each as the local account that the identity mapping names.
    As yourself:    one account; only your own identity is let in.

    \b
    chamberlain-endpoint configure cluster --hub https://hub.example.edu \\
        --token-file token --contact-email hpc@example.edu
    chamberlain-endpoint start cluster
    """


def json_option(command: F) -> F:
    """Give a command `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    )(command)


def common(command: F) -> F:
    """Give a command the options that all have which look at an endpoint's folder."""
    return click.option(
        "-c",
        "--config-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CHAMBERLAIN_ENDPOINT_CONFIG_DIR",
        help="Folder that holds the endpoints' folders. Default: /etc/chamberlain for root, "
        "with state in /var/lib, sockets in /run and logs in /var/log; ~/.chamberlain for "
        "others. With another folder everything is kept below it.",
    )(json_option(command))


def print_json(document: dict[str, Any]) -> None:
    """Write the answer of `--json`."""
    click.echo(json.dumps(document, indent=2))
