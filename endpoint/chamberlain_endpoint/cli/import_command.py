"""`import`: an endpoint of ours, made of a folder of the public agent's."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chamberlain_endpoint.cli import hub, import_site, names
from chamberlain_endpoint.cli.configure import Configured, Wish, configure
from chamberlain_endpoint.cli.files import File, Overrides, write
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.cli.import_site import Plan


@cli.command("import")
@click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--name", help="Name of the new endpoint. Default: that of DIR.")
@click.option("--hub", "hub_url", help="Address, such as https://hub.example.edu")
@click.option(
    "--token-file",
    type=click.File(errors="replace"),
    help="File with a hub token of the endpoint's owner; - is standard input.",
)
@click.option("--hub-key-file", type=click.File(errors="replace"), help="See configure.")
@click.option("--contact-email", help="Whom users may ask. Default: that of DIR/config.yaml.")
@click.option("--owner", help="Identity (UUID) to let in; single form. Default: the token's.")
@click.option("--new-id", is_flag=True, help="Do not keep the id in DIR/endpoint.json.")
@click.option("--dry-run", is_flag=True, help="Say what would become of each key; make nothing.")
@common
def import_command(  # noqa: PLR0913, PLR0917 - one parameter an option, as click wants it
    folder: Path,
    name: str | None,
    hub_url: str | None,
    token_file: Any,
    hub_key_file: Any,
    contact_email: str | None,
    owner: str | None,
    new_id: bool,
    dry_run: bool,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Make an endpoint of the public agent's folder DIR, and say what became of each key.

    DIR is not changed. Taken are config.yaml, the template and what it includes, the schema,
    the environment, the identity mapping, and the endpoint's id; also the older form that has
    the engine in config.yaml. Each key is kept, translated, or refused with the reason and
    what to do. The exit code is 1 when something was refused; the endpoint is made all the same.
    """
    plan = import_site.read(folder.absolute())
    wanted = name or plan.name
    fault = names.fault(wanted)
    if fault is not None:
        raise click.BadParameter(f"it {fault}", param_hint="--name")
    made = None
    if not dry_run:
        email = contact_email or plan.more.get("email")
        _needed(hub_url, token_file, email)
        assert hub_url is not None
        wish = Wish(
            name=wanted,
            config_dir=config_dir,
            hub_url=hub_url.rstrip("/"),
            token=hub.one_token(token_file.read()),
            hub_key_text=hub_key_file.read() if hub_key_file else None,
            display_name=None,
            email=email,
            owner=owner,
            brought=Overrides(),
            more=plan.more,
            endpoint_id=None if new_id else plan.endpoint_id,
        )
        made = _make(wish, plan)
    if as_json:
        print_json(_document(plan, wanted, made))
    else:
        _tell(plan, wanted, made)
    sys.exit(1 if plan.refused else 0)


def _needed(hub_url: str | None, token_file: Any, email: object) -> None:
    if hub_url is None or token_file is None:
        raise click.UsageError("--hub and --token-file are needed, or --dry-run")
    fault = hub.address_fault(hub_url)
    if fault is not None:
        raise click.BadParameter(f"it {fault}", param_hint="--hub")
    if os.geteuid() == 0 and not email:
        raise click.UsageError("--contact-email is needed: refused people must have whom to ask")


def _make(wish: Wish, plan: Plan) -> Configured:
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        template.write_text(plan.template)
        multi = os.geteuid() == 0
        schema = plan.schema or _anything(Path(folder, "schema"))
        brought = Overrides(
            template, schema, plan.user_environment, plan.mapping if multi else None
        )
        made = configure(replace(wish, brought=brought))
    for name, text in plan.beside.items():
        file = made.layout.config / name
        file.parent.mkdir(mode=0o755 if multi else 0o700, exist_ok=True)
        write(File(file, text, 0o644 if multi else 0o600, "included by the template"), -1)
    return made


def _anything(file: Path) -> Path:
    """A site without a schema lets every option in; our own default would let in its own only."""
    file.write_text("{}\n")
    return file


def _document(plan: Plan, name: str, made: Configured | None) -> dict[str, Any]:
    return {
        "from": str(plan.folder),
        "name": name,
        "made": made is not None,
        "folder": str(made.layout.config) if made else None,
        "endpoint_id": made.endpoint_id if made else plan.endpoint_id,
        "id_kept": plan.endpoint_id is not None
        and (made is None or made.endpoint_id == plan.endpoint_id),
        "options_tried": dict(plan.options),
        "keys": [item.document() for item in plan.items],
    }


def _tell(plan: Plan, name: str, made: Configured | None) -> None:
    for item in plan.items:
        click.echo(item.text())
    count = len(plan.refused)
    word = f"{count} of {len(plan.items)} refused" if count else f"all {len(plan.items)} taken"
    click.echo(f"{plan.folder}: {word}", err=True)
    if made is None:
        click.echo("Nothing was made (--dry-run).", err=True)
        return
    kept = " (its old id)" if made.endpoint_id == plan.endpoint_id else ""
    click.echo(f"Endpoint {name} ({made.endpoint_id}{kept}) in {made.layout.config}", err=True)
    if made.layout.multi and plan.mapping is None:
        click.echo("There was no identity mapping: edit the example before you start.", err=True)
    click.echo(f"Next: chamberlain-endpoint check-config {made.layout.config}", err=True)
