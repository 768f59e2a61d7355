"""`check-config`, `render-user-config` and `validate-mapping`: look, and change nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from chamberlain_endpoint.cli import ask_launcher, check_files, places, render_offline
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import READABLE, cli, common, print_json
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_identity_id

_UNKNOWN_ID: Final = "00000000-0000-0000-0000-000000000000"
_IDENTITY_KEYS: Final = (
    "name",
    "email",
    "organization",
    "identity_provider",
    "identity_provider_display_name",
    "status",
)


@cli.command("check-config")
@click.argument("name", metavar="NAME|DIR")
@common
def check_config_command(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Say everything that is wrong with the files of an endpoint, with file and line.

    Looks at config.yaml, launcher.toml, the identity mapping, the template and what it
    includes, the schema and the environment. A name with a slash is the folder itself.
    """
    checked = check_files.check(places.folder(name, config_dir))
    if as_json:
        print_json(
            {
                "folder": str(checked.folder),
                "files": [str(file) for file in checked.files],
                "faults": [finding.document() for finding in checked.findings],
            }
        )
    else:
        for finding in checked.findings:
            click.echo(finding.text())
        count = len(checked.findings)
        word = "good" if count == 0 else f"{count} fault{'s' if count > 1 else ''}"
        click.echo(f"{checked.folder}: {word} ({len(checked.files)} files)", err=count > 0)
    sys.exit(1 if checked.findings else 0)


@cli.command("render-user-config")
@click.option("-e", "--endpoint", metavar="NAME|DIR", help="Endpoint whose files are used.")
@click.option("-t", "--template", help="Another template; - is standard input.")
@click.option("-o", "--user-options", help="The caller's options (JSON or YAML). Default: none.")
@click.option("-s", "--user-schema", help="Another JSON schema of the options.")
@click.option("--parent-config", help="Another config.yaml for _GC.parent_config.")
@click.option("--user-runtime", help="The caller's versions. Default: those of this host.")
@click.option("--mapped-identity", help="The account to render for. Default: yours.")
@common
def render_command(  # noqa: PLR0913, PLR0917 - one parameter an option, as click wants it
    endpoint: str | None,
    template: str | None,
    user_options: str | None,
    user_schema: str | None,
    parent_config: str | None,
    user_runtime: str | None,
    mapped_identity: str | None,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Render a user endpoint's configuration offline, and check it as the manager would.

    What the template writes goes to standard output, all else to standard error; the exit
    code is 1 when no user endpoint would start with it. Each FILE can be - (standard input),
    one of them at a time.
    """
    if endpoint is None and template is None:
        raise click.UsageError("--endpoint or --template is needed")
    files = {
        "template": template,
        "user_options": user_options,
        "user_schema": user_schema,
        "parent_config": parent_config,
        "user_runtime": user_runtime,
        "mapped_identity": mapped_identity,
    }
    places.only_one_stdin(**files)
    outcome = render_offline.render(
        render_offline.Given(
            folder=places.folder(endpoint, config_dir) if endpoint else None,
            template=_file(template),
            template_text=places.text_of("-", "--template") if template == "-" else None,
            schema=places.mapping_of(user_schema, "--user-schema"),
            options=places.mapping_of(user_options, "--user-options") or {},
            parent_config=places.mapping_of(parent_config, "--parent-config"),
            runtime=places.mapping_of(user_runtime, "--user-runtime"),
            identity=places.mapping_of(mapped_identity, "--mapped-identity"),
        )
    )
    _tell_rendered(outcome, as_json)
    sys.exit(1 if outcome.fault else 0)


@cli.command("validate-mapping")
@click.argument("name", metavar="[NAME|DIR]", required=False)
@click.option("--mapping", type=READABLE, help="A mapping file to try. Default: the endpoint's.")
@click.option("-i", "--identities", help="File with the identity set (JSON); - is standard input.")
@click.option("-u", "--username", multiple=True, help="Try this username; may be repeated.")
@common
def validate_mapping_command(
    name: str | None,
    mapping: Path | None,
    identities: str | None,
    username: tuple[str, ...],
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Say which rule maps an identity set to which account, and why the others do not.

    With NAME also whether the site's policy lets the account in. The identity set is a JSON
    list of identities, each with at least `username`; -u makes one of usernames alone. The
    exit code is 1 when nobody would come in. Programs of the mapping are run as in earnest,
    as the account and with the limits that launcher.toml names: that takes NAME, and root.
    """
    if name is None and mapping is None:
        raise click.UsageError("NAME or --mapping is needed")
    if (identities is None) == (not username):
        raise click.UsageError("one of --identities and --username is needed")
    folder = places.folder(name, config_dir) if name else None
    told = ask_launcher.explain(
        folder / "launcher.toml" if folder else None, mapping, _identities(identities, username)
    )
    if told.faults:
        raise CommandFailedError("The mapping cannot be used: " + "; ".join(told.faults))
    if as_json:
        print_json(
            {
                "mapped": told.mapped,
                "account": told.account,
                "admitted": told.mapped is not None and not told.refused,
                "refused": told.refused,
                "rules": list(told.outcomes),
            }
        )
    else:
        _tell_mapping(told, with_policy=folder is not None)
    sys.exit(1 if told.mapped is None or told.refused else 0)


def _file(given: str | None) -> Path | None:
    if given is None or given == "-":
        return None
    if not Path(given).is_file():
        raise click.BadParameter(f"{given} is no file", param_hint="--template")
    return Path(given)


def _tell_rendered(outcome: render_offline.Offline, as_json: bool) -> None:
    if as_json:
        config = None if outcome.config is None else json.loads(outcome.config)
        print_json(
            {
                "text": outcome.text,
                "config": config,
                "deprecated": list(outcome.deprecated),
                "fault": outcome.fault or None,
            }
        )
    elif outcome.text is not None:
        click.echo(outcome.text, nl=not outcome.text.endswith("\n"))
    for word in outcome.deprecated:
        click.echo(f"The template uses {word}; write _GC.{word} instead.", err=True)
    click.echo(outcome.fault or "A user endpoint would start with it.", err=True)


def _identities(source: str | None, usernames: tuple[str, ...]) -> list[dict[str, Any]]:
    if source is None:
        return [{"id": _UNKNOWN_ID, "username": username} for username in usernames]
    document = places.document_of(source, "--identities")
    if isinstance(document, dict):
        document = document.get("identities", document.get("identity_set", [document]))
    if not isinstance(document, list) or not document:
        raise click.UsageError(f"--identities: {source} holds no list of identities")
    return [_identity(each, number) for number, each in enumerate(document, start=1)]


def _identity(given: Any, number: int) -> dict[str, Any]:
    where = f"--identities: number {number}"
    if not isinstance(given, dict) or not isinstance(given.get("username"), str):
        raise click.UsageError(f"{where} is no object with a username")
    try:
        known = parse_identity_id(str(given.get("id", given.get("sub", _UNKNOWN_ID))))
    except InvalidIdError as error:
        raise click.UsageError(f"{where}: {error.public}") from None
    texts = {key: str(given[key]) for key in _IDENTITY_KEYS if given.get(key) is not None}
    return {"id": known, "username": given["username"], **texts}


def _tell_mapping(told: ask_launcher.Explained, *, with_policy: bool) -> None:
    for one in told.outcomes:
        said = f"maps to {one['user_name']}" if one["user_name"] else one["why_not"]
        click.echo(f"{one['rule']}\n    {one['username']}: {said}", err=True)
    if told.mapped is None:
        click.echo(f"Nobody: {told.refused}. The caller is refused.")
        return
    click.echo(f"{told.mapped['username']} becomes {told.mapped['user_name']}")
    click.echo(f"by {told.mapped['rule']}")
    if told.refused:
        click.echo(f"and is refused: {told.refused}.")
    elif told.account is not None:
        groups = ", ".join(group["name"] for group in told.account["groups"])
        policy = "The site's policy lets it in." if with_policy else "No policy was looked at."
        click.echo(f"(uid {told.account['uid']}, groups {groups}). {policy}")
