"""`functions show`: what a function's code is, for those who decide whether it may run here."""

from __future__ import annotations

from pathlib import Path

import click

from chamberlain_endpoint.cli import daemons, hub, tokens
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_wire.allowed import sha256_of
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_function_id


@cli.group("functions")
def functions() -> None:
    """Look at functions before you allow them at an endpoint."""


@functions.command("show")
@click.argument("name")
@click.argument("function_id")
@click.option("--code", "with_code", is_flag=True, help="Print the packed code, too.")
@common
def show_command(
    name: str, function_id: str, with_code: bool, config_dir: Path | None, as_json: bool
) -> None:
    """Show the hash of a function's code, and the line for `allowed_functions`.

    The hub is asked with the token of endpoint NAME; it shows that person's own functions and
    public ones. The hash is made here, from the code.
    """
    try:
        wanted = parse_function_id(function_id)
    except InvalidIdError as error:
        raise click.BadParameter(error.public, param_hint="FUNCTION_ID") from None
    link = tokens.link(daemons.known(name, config_dir))
    told = hub.function(link.url, link.token(), wanted, link.account)
    code = told["function_code"]
    sha256 = sha256_of(code)
    if told.get("sha256") != sha256:
        raise CommandFailedError(
            f"The hub says that the hash of {wanted} is {told.get('sha256')}, and its code has "
            f"{sha256}. Allow nothing, and ask the hub's administrator."
        )
    entry = f"{{id: {wanted}, sha256: {sha256}}}"
    shown = {
        "id": wanted,
        "name": told.get("function_name", ""),
        "owner": told.get("owner", ""),
        "sha256": sha256,
        "entry": entry,
    }
    if as_json:
        print_json(shown | ({"code": code} if with_code else {}))
        return
    click.echo(f"{shown['name']} of identity {shown['owner']}\nsha256  {sha256}")
    click.echo(f"\nallowed_functions:\n  - {entry}")
    if with_code:
        click.echo(f"\n{code}")
