"""`chamberlain-hub user` and `chamberlain-hub token`: who may call this hub."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chamberlain_hub.cli.frame import duration, iso, json_option, open_audit, open_store, say, table

if TYPE_CHECKING:
    from chamberlain_hub.domain.identity import Identity, Token


@click.group()
def user() -> None:
    """Identities: who may call this hub."""


@user.command("add")
@click.argument("username")
@click.option("--name", default="", help="Full name.")
@click.option("--email", default="", help="Default: the username.")
@click.option("--organization", default="", help="Default: the username's domain.")
@click.option("--link-to", metavar="USERNAME", help="Another identity of the same person.")
@json_option
@click.pass_obj
def user_add(config: Path | None, /, username: str, as_json: bool, **details: str) -> None:
    """Make an identity, such as alice@example.edu.

    An endpoint maps the username to a local account, so give out only names whose owners you
    know.
    """
    with open_store(config) as store, open_audit(config) as note:
        identity = store.add_identity(username, **details)
        note("identity-made", identity=identity.id, username=identity.username)
    text = f"{identity.username} is identity {identity.id}."
    say(_identity(identity), text, as_json=as_json)
    click.echo(f"Next: chamberlain-hub token create {identity.username}", err=True)


@user.command("list")
@json_option
@click.pass_obj
def user_list(config: Path | None, as_json: bool) -> None:
    """List all identities."""
    with open_store(config) as store:
        entries = store.list_identities()
    rows = [(entry.username, entry.id, entry.name) for entry in entries]
    say(
        {"identities": [_identity(entry) for entry in entries]},
        table(("USERNAME", "IDENTITY", "NAME"), rows),
        as_json=as_json,
    )


@user.command("remove")
@click.argument("username")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def user_remove(config: Path | None, username: str, yes: bool, as_json: bool) -> None:
    """Remove an identity and its tokens. There is no way back.

    The same username added later is another identity, and does not see the tasks of this one.
    """
    if not yes:
        click.confirm(f"Remove {username} and all its tokens?", abort=True, err=True)
    with open_store(config) as store, open_audit(config) as note:
        identity = store.identity(username)
        note("identity-removed", identity=identity.id, username=identity.username)
        store.remove_identity(username)
    say(_identity(identity), f"{identity.username} is removed.", as_json=as_json)


@click.group()
def token() -> None:
    """Access tokens: how people and endpoints prove who they are."""


@token.command("create")
@click.argument("username")
@click.option("--label", default="", help="What it is for, to recognise it in the list.")
@click.option(
    "--expires",
    callback=duration,
    default="90d",
    show_default=True,
    help="After how long it is worthless: 30d, 12h, 45m or never.",
)
@json_option
@click.pass_obj
def token_create(
    config: Path | None, username: str, label: str, expires: float | None, as_json: bool
) -> None:
    """Make a token and write it to standard output, once: nobody can read it again.

    \b
    Into a file that only you can read:
      (umask 077; chamberlain-hub token create alice@example.edu > token)
    """
    with open_store(config) as store, open_audit(config) as note:
        identity = store.identity(username)
        expires_at = None if expires is None else time.time() + expires
        token_id, secret = store.create_token(identity.id, label, expires_at)
        # Behind it, for its id; the token itself is shown only when this is written.
        note("token-made", identity=identity.id, username=identity.username, about=token_id)
    document = {
        "id": token_id,
        "token": secret,
        "username": identity.username,
        "expires_at": iso(expires_at),
    }
    say(document, secret, as_json=as_json)
    ends = "never expires" if expires_at is None else f"expires {iso(expires_at)}"
    click.echo(f"Token {token_id} of {identity.username} {ends}.", err=True)


@token.command("list")
@click.option("--user", "username", metavar="USERNAME", help="Only of this identity.")
@json_option
@click.pass_obj
def token_list(config: Path | None, username: str | None, as_json: bool) -> None:
    """List tokens, newest first; never the tokens themselves."""
    with open_store(config) as store:
        identity_id = None if username is None else store.identity(username).id
        entries = store.list_tokens(identity_id)
    now = time.time()
    rows = [
        (entry.id, entry.username, _state(entry, now), iso(entry.last_used_at) or "-", entry.label)
        for entry in entries
    ]
    say(
        {"tokens": [_token(entry, now) for entry in entries]},
        table(("TOKEN", "USERNAME", "STATE", "LAST USED", "LABEL"), rows),
        as_json=as_json,
    )


@token.command("revoke")
@click.argument("token_id", required=False)
@click.option(
    "--token-file",
    type=click.File(errors="replace"),
    help="File with the token itself, where its id is not known; - is standard input.",
)
@json_option
@click.pass_obj
def token_revoke(config: Path | None, token_id: str | None, token_file: Any, as_json: bool) -> None:
    """Make a token worthless at once. TOKEN_ID is in `token list`."""
    if (token_id is None) == (token_file is None):
        raise click.UsageError("name either TOKEN_ID or --token-file")
    with open_store(config) as store, open_audit(config) as note:
        if token_id is None:
            token_id = store.authenticate(token_file.read().strip(), time.time()).token_id
        store.revoke_token(token_id)
        note("token-revoked", about=token_id)
    say({"id": token_id, "revoked": True}, f"Token {token_id} is revoked.", as_json=as_json)


def _identity(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "created_at": iso(identity.created_at),
    }


def _token(entry: Token, now: float) -> dict[str, Any]:
    return {
        "id": entry.id,
        "username": entry.username,
        "label": entry.label,
        "state": _state(entry, now),
        "created_at": iso(entry.created_at),
        "expires_at": iso(entry.expires_at),
        "last_used_at": iso(entry.last_used_at),
    }


def _state(entry: Token, now: float) -> str:
    if entry.revoked_at is not None:
        return "revoked"
    if entry.expires_at is not None and entry.expires_at <= now:
        return "expired"
    return "valid"
