"""`chamberlain login | logout | whoami`: which hub, and who you are there."""

from __future__ import annotations

import os
import sys

import click

from chamberlain import config
from chamberlain.cli.show import client, json_option, print_json, table


@click.command()
@click.argument("hub_url", required=False, metavar="[HUB]")
@json_option
def login(hub_url: str | None, as_json: bool) -> None:
    """Remember the address of your hub and your token, after asking the hub about them.

    HUB is the hub's address, such as https://hub.example.edu. The token is asked for at a
    terminal, and read from standard input elsewhere; it is never an argument, which others
    could see. Both are kept in the configuration file, which only you can read.
    """
    from chamberlain.client import Client

    at_terminal = sys.stdin.isatty()
    hub_url = hub_url or config.known_hub()
    if hub_url is None and at_terminal:
        hub_url = click.prompt("Address of the hub", err=True)
    if hub_url is None:
        raise click.UsageError("give the address of the hub, such as https://hub.example.edu")
    token = (
        click.prompt("Token (it is not shown)", hide_input=True, err=True)
        if at_terminal
        else sys.stdin.readline()
    ).strip()
    if not token:
        raise click.UsageError("no token came on standard input")
    me = Client(hub_url, token, patience_s=15.0).whoami()
    file = config.save(hub_url, token)
    if as_json:
        print_json({"hub_url": hub_url, "username": me["preferred_username"], "file": str(file)})
    else:
        click.echo(f"You are {me['preferred_username']} at {hub_url}. Kept in {file}.")
    for variable in ("CHAMBERLAIN_HUB_URL", "CHAMBERLAIN_TOKEN"):
        if os.environ.get(variable):
            click.echo(f"Note: {variable} is set, and wins over the file.", err=True)


@click.command()
@json_option
def logout(as_json: bool) -> None:
    """Forget the token that `login` kept.

    The token itself stays valid until it expires or is revoked at the hub.
    """
    file, removed = config.forget_token()
    if as_json:
        print_json({"removed": removed, "file": str(file)})
    elif removed:
        click.echo(f"The token is no longer in {file}. At the hub it stays valid until it ends.")
    else:
        click.echo(f"There was no token in {file}.")


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Show who the hub takes you for, with all linked identities.

    The endpoint maps one of these identities to the local account that your functions run as.
    """
    me = client().whoami()
    if as_json:
        print_json(me)
        return
    click.echo(f"{me.get('preferred_username', '')}  ({me.get('name') or 'no name given'})")
    rows = [
        (one.get("username", ""), one.get("sub") or one.get("id", ""), one.get("status", ""))
        for one in me.get("identity_set") or [me | {"username": me.get("preferred_username", "")}]
    ]
    table(("IDENTITY", "ID", "STATUS"), rows)
