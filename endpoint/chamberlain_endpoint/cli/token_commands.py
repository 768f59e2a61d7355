"""`login`, `logout` and `whoami`: their options and what they tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chamberlain_endpoint.cli import daemons, hub, tokens
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json


@cli.command("login")
@click.argument("name")
@click.option(
    "--token-file",
    type=click.File(errors="replace"),
    required=True,
    help="File with a new hub token of the endpoint's owner; - is standard input.",
)
@common
def login_command(name: str, token_file: Any, config_dir: Path | None, as_json: bool) -> None:
    """Replace the hub token of endpoint NAME, once the hub has accepted the new one.

    It counts from the manager's next question to the hub on; no restart is needed.
    """
    who = tokens.log_in(daemons.known(name, config_dir), hub.one_token(token_file.read()))
    if as_json:
        print_json({"name": name, "identity": who.get("sub"), "username": _username(who)})
    else:
        click.echo(f"{name} speaks to the hub as {_username(who)} ({who.get('sub')}) from now on.")


@cli.command("logout")
@click.argument("name")
@click.option("--force", is_flag=True, help="Even while it runs: it goes on until it restarts.")
@common
def logout_command(name: str, force: bool, config_dir: Path | None, as_json: bool) -> None:
    """Remove the hub token of endpoint NAME from this host.

    The hub still knows it: revoke it there (chamberlain-hub token revoke).
    """
    endpoint = daemons.known(name, config_dir)
    if not force and daemons.runs(endpoint):
        raise CommandFailedError(f"{name} runs. Stop it first, or give --force.")
    removed = tokens.log_out(endpoint)
    if as_json:
        print_json({"name": name, "was_logged_in": removed})
    else:
        click.echo(f"{name} has no token any more." if removed else f"{name} had no token.")


@cli.command("whoami")
@click.argument("name")
@click.option("--linked-identities", is_flag=True, help="All identities, not only the first.")
@common
def whoami_command(
    name: str, linked_identities: bool, config_dir: Path | None, as_json: bool
) -> None:
    """Show who owns the hub token of endpoint NAME, as the hub says."""
    link = tokens.link(daemons.known(name, config_dir))
    who = hub.person(link.url, link.token(), link.account)
    every: list[dict[str, Any]] = who.get("identity_set") or [who]
    if as_json:
        shown = {"identity_set": every} if linked_identities else {}
        print_json({"identity": who.get("sub"), "username": _username(who), **shown})
        return
    if not linked_identities:
        click.echo(f"{_username(who)} ({who.get('sub')})")
        return
    for one in every:
        username = one.get("username", one.get("preferred_username", ""))
        click.echo(f"{username} ({one.get('sub', one.get('id', ''))})")


def _username(who: dict[str, Any]) -> str:
    return str(who.get("preferred_username") or who.get("name") or "?")
