"""The command line itself: arguments, words and exit codes; the work is elsewhere.

Exit codes: 0 done, 1 could not (the sentence says why), 2 the command makes no sense.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from chamberlain_endpoint.cli import daemons, hub, names
from chamberlain_endpoint.cli.configure import Configured, Wish, configure
from chamberlain_endpoint.cli.files import Overrides
from chamberlain_endpoint.cli.layout import SERVICE_ACCOUNT
from chamberlain_endpoint.cli.user_endpoints import user_endpoints
from chamberlain_wire.errors import ChamberlainError, InvalidIdError
from chamberlain_wire.ids import parse_identity_id

F = TypeVar("F", bound=Callable[..., Any])

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_READABLE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def _common(command: F) -> F:
    """Give a command the options that all have."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    )(command)
    return click.option(
        "-c",
        "--config-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CHAMBERLAIN_ENDPOINT_CONFIG_DIR",
        help="Folder that holds the endpoints' folders. Default: /etc/chamberlain for root, "
        "with state in /var/lib, sockets in /run and logs in /var/log; ~/.chamberlain for "
        "others. With another folder everything is kept below it.",
    )(command)


@click.group(context_settings=_CONTEXT)
@click.version_option(package_name="chamberlain", prog_name="chamberlain-endpoint")
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


@cli.command("configure")
@click.argument("name")
@click.option(
    "--multi-user",
    type=bool,
    default=None,
    help="true: for many accounts, needs root. false: for the calling account alone. "
    "Default: true for root.",
)
@click.option("--hub", "hub_url", required=True, help="Address, such as https://hub.example.edu")
@click.option(
    "--token-file",
    type=click.File(),
    required=True,
    help="File with a hub token of the endpoint's owner; - is standard input.",
)
@click.option(
    "--hub-key-file",
    type=click.File(),
    help="File with the hub's public keys (chamberlain-hub key show); - is standard input. "
    "Default: ask the hub, and print the fingerprint for you to compare.",
)
@click.option("--display-name", help="What people see. Default: NAME.")
@click.option("--contact-email", help="Whom users may ask; needed with --multi-user true.")
@click.option("--owner", help="Identity (UUID) to let in; single form. Default: the token's.")
@click.option("--id-mapping-config", type=_READABLE, help="Your identity mapping.")
@click.option("--template-config", type=_READABLE, help="Your template of user endpoints.")
@click.option("--schema-config", type=_READABLE, help="Your JSON schema of callers' options.")
@click.option("--user-env-config", type=_READABLE, help="Your environment of user endpoints.")
@_common
def configure_command(  # noqa: PLR0913, PLR0917 - one parameter an option, as click wants it
    name: str,
    multi_user: bool | None,
    hub_url: str,
    token_file: Any,
    hub_key_file: Any,
    display_name: str | None,
    contact_email: str | None,
    owner: str | None,
    id_mapping_config: Path | None,
    template_config: Path | None,
    schema_config: Path | None,
    user_env_config: Path | None,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Write the files of a new endpoint NAME, and say what each is for.

    Nothing is started and nothing is sent to the hub: the endpoint registers when it starts.
    As root the service account `chamberlain` is made when it is absent.
    """
    _check_form(multi_user, contact_email, owner, id_mapping_config)
    _refuse("NAME", names.fault(name))
    _refuse("--hub", hub.address_fault(hub_url))
    if token_file.name == getattr(hub_key_file, "name", None) == "<stdin>":
        raise click.UsageError("--token-file and --hub-key-file cannot both be standard input")
    if hub.sends_secrets_in_clear(hub_url):
        click.echo(f"Warning: {hub_url} is not https: the token can be read on the way.", err=True)
    wish = Wish(
        name=name,
        config_dir=config_dir,
        hub_url=hub_url.rstrip("/"),
        token=token_file.read(),
        hub_key_text=hub_key_file.read() if hub_key_file else None,
        display_name=display_name,
        email=contact_email,
        owner=owner,
        brought=Overrides(template_config, schema_config, user_env_config, id_mapping_config),
    )
    made = configure(wish)
    again = f" --config-dir {config_dir}" if config_dir else ""
    following = f"chamberlain-endpoint start {name}{again}"
    if as_json:
        _print_json(_configured_document(made, following))
    else:
        _print_configured(made, following)


@cli.command("start")
@click.argument("name")
@click.option("--detach", is_flag=True, help="Return when it runs; go on in the background.")
@_common
def start_command(name: str, detach: bool, config_dir: Path | None, as_json: bool) -> None:
    """Run endpoint NAME: launcher and manager under supervisord.

    Stays in the foreground (for systemd, or a look) unless --detach is given. Both programs
    are started again when they end.
    """
    endpoint = daemons.known(name, config_dir)
    if not detach:
        click.echo(f"Logs: {endpoint.layout.log}. Stop with Ctrl-C.", err=True)
        daemons.start(endpoint)
    pid = daemons.start_detached(endpoint)
    if as_json:
        ids = {"endpoint_id": endpoint.settings.endpoint_id, "pid": pid}
        _print_json({"name": name, "state": "running", **ids, "log": str(endpoint.layout.log)})
    else:
        click.echo(f"{name} runs (supervisord is process {pid}). Logs: {endpoint.layout.log}")


@cli.command("stop")
@click.argument("name")
@_common
def stop_command(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Stop endpoint NAME and its user endpoints; return when nothing of it is left."""
    stopped = daemons.stop(daemons.known(name, config_dir))
    if as_json:
        _print_json({"name": name, "state": "stopped", "was_running": stopped})
    else:
        click.echo(f"{name} is stopped." if stopped else f"{name} did not run.")


@cli.command("list")
@_common
def list_command(config_dir: Path | None, as_json: bool) -> None:
    """Show the endpoints of this host: state, id, and how many user endpoints run."""
    rows = daemons.rows(config_dir)
    if as_json:
        _print_json({"endpoints": [asdict(row) for row in rows]})
        return
    if not rows:
        click.echo("No endpoint. Make one with: chamberlain-endpoint configure NAME")
        return
    width = max(len("NAME"), *(len(row.name) for row in rows))
    click.echo(f"{'NAME':<{width}}  {'STATE':<10}  {'ENDPOINT ID':<36}  USER ENDPOINTS")
    for row in rows:
        count = row.user_endpoints
        click.echo(f"{row.name:<{width}}  {row.state:<10}  {row.endpoint_id:<36}  {count}")


cli.add_command(user_endpoints)


def main() -> None:
    """Run the command line; ends the program."""
    try:
        cli(prog_name="chamberlain-endpoint")
    except ChamberlainError as error:
        if "--json" in sys.argv:
            document = {"error": {"code": error.code, "message": error.public}}
            click.echo(json.dumps(document), err=True)
        else:
            click.echo(f"chamberlain-endpoint: {error.public}", err=True)
        sys.exit(1)


def _check_form(
    multi_user: bool | None, email: str | None, owner: str | None, mapping: Path | None
) -> None:
    root = os.geteuid() == 0
    multi = root if multi_user is None else multi_user
    if multi and not root:
        raise click.UsageError("--multi-user true needs root: user endpoints change accounts")
    if root and not multi:
        raise click.UsageError(
            "--multi-user false as root would run other people's functions as root; "
            "run it as the account that they shall run as"
        )
    if multi and not email:
        raise click.UsageError("--contact-email is needed: refused people must have whom to ask")
    if multi and owner:
        raise click.UsageError("--owner is for the single-account form; a mapping decides here")
    if not multi and mapping:
        raise click.UsageError("--id-mapping-config is for --multi-user true; only you come in")
    if owner:
        try:
            parse_identity_id(owner)
        except InvalidIdError as error:
            raise click.BadParameter(error.public, param_hint="--owner") from None


def _refuse(what: str, fault: str | None) -> None:
    if fault is not None:
        raise click.BadParameter(f"it {fault}", param_hint=what)


def _configured_document(made: Configured, following: str) -> dict[str, Any]:
    return {
        "name": made.layout.name,
        "endpoint_id": made.endpoint_id,
        "multi_user": made.layout.multi,
        "folder": str(made.layout.config),
        "files": [{"path": str(file.path), "purpose": file.purpose} for file in made.files],
        "hub_key_fingerprints": list(made.fingerprints),
        "service_account_made": SERVICE_ACCOUNT if made.account_made else None,
        "next": following,
    }


def _print_configured(made: Configured, following: str) -> None:
    if made.account_made:
        click.echo(f"Made the service account {SERVICE_ACCOUNT!r} (no shell, no home).")
    click.echo(f"Endpoint {made.layout.name} ({made.endpoint_id}) in {made.layout.config}:")
    width = max(len(file.path.name) for file in made.files)
    for file in made.files:
        click.echo(f"  {file.path.name:<{width}}  {file.purpose}")
    for fingerprint in made.fingerprints:
        click.echo(f"Hub key {fingerprint} (compare with: chamberlain-hub key show)")
    click.echo(f"Next: {following}")


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2))
