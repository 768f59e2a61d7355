"""`chamberlain-hub service-account`: programs that prove who they are with a secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chamberlain_hub.cli.frame import (
    iso,
    json_option,
    open_store_of,
    say,
    settings_of,
    table,
)

if TYPE_CHECKING:
    from chamberlain_hub.domain.service_account import ServiceAccount


@click.group("service-account")
def service_account() -> None:
    """Service accounts: programs that get access tokens with a secret of their own."""


@service_account.command("create")
@click.argument("name")
@click.option(
    "--link-to",
    metavar="USERNAME",
    help="The person whose account it is: it then counts as another identity of theirs.",
)
@json_option
@click.pass_obj
def create(config: Path | None, name: str, link_to: str | None, as_json: bool) -> None:
    """Make a service account; write its client id and its secret to standard output, once.

    The form is that of an environment file of the public agent. Nobody can read the secret again.

    \b
    Into a file that only you can read:
      (umask 077; chamberlain-hub service-account create cluster > agent.env)
    """
    settings = settings_of(config)
    with open_store_of(settings) as store:
        account, secret = store.create_service_account(name, settings.public_url, link_to=link_to)
    _say_secret(account, secret, as_json=as_json)
    click.echo(f"Service account {name} is identity {account.username}.", err=True)


@service_account.command("list")
@json_option
@click.pass_obj
def list_accounts(config: Path | None, as_json: bool) -> None:
    """List service accounts, also revoked ones; never their secrets."""
    with open_store_of(settings_of(config)) as store:
        accounts = store.list_service_accounts()
    rows = [
        (one.name, one.client_id, _state(one), iso(one.last_used_at) or "-", one.username)
        for one in accounts
    ]
    say(
        {"service_accounts": [_document(one) for one in accounts]},
        table(("NAME", "CLIENT ID", "STATE", "LAST USED", "USERNAME"), rows),
        as_json=as_json,
    )


@service_account.command("rotate")
@click.argument("name")
@json_option
@click.pass_obj
def rotate(config: Path | None, name: str, as_json: bool) -> None:
    """Make a new secret and write it to standard output, once. NAME may be the client id.

    The old secret and all tokens that it got are worthless at once.
    """
    with open_store_of(settings_of(config)) as store:
        account, secret = store.rotate_service_account(name)
    _say_secret(account, secret, as_json=as_json)
    click.echo(f"Service account {account.name} has a new secret.", err=True)


@service_account.command("revoke")
@click.argument("name")
@json_option
@click.pass_obj
def revoke(config: Path | None, name: str, as_json: bool) -> None:
    """Make a service account and all its tokens worthless, at once and for ever.

    NAME may be the client id. What it owns stays; its name is not given out again.
    """
    with open_store_of(settings_of(config)) as store:
        account = store.revoke_service_account(name)
    document = {"client_id": account.client_id, "name": account.name, "revoked": True}
    say(document, f"Service account {account.name} is revoked.", as_json=as_json)


def _say_secret(account: ServiceAccount, secret: str, *, as_json: bool) -> None:
    text = f"GLOBUS_COMPUTE_CLIENT_ID={account.client_id}\nGLOBUS_COMPUTE_CLIENT_SECRET={secret}"
    document = {
        "client_id": account.client_id,
        "client_secret": secret,
        "name": account.name,
        "username": account.username,
    }
    say(document, text, as_json=as_json)


def _document(account: ServiceAccount) -> dict[str, Any]:
    return {
        "client_id": account.client_id,
        "name": account.name,
        "username": account.username,
        "state": _state(account),
        "created_at": iso(account.created_at),
        "rotated_at": iso(account.rotated_at),
        "revoked_at": iso(account.revoked_at),
        "last_used_at": iso(account.last_used_at),
    }


def _state(account: ServiceAccount) -> str:
    return "valid" if account.revoked_at is None else "revoked"
