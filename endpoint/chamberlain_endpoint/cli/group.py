"""What all commands share: the group, the common options, and how answers are written.

Exit codes: 0 done and nothing found, 1 could not or found something (the sentences say what),
2 the command makes no sense. Answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PROGRAM: Final = "chamberlain-endpoint"
READABLE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
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
