"""`configure`: its options, what makes no sense among them, and what it tells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from chamberlain_endpoint.cli import core_config, hub, names, pam_service
from chamberlain_endpoint.cli.configure import Configured, Wish, configure
from chamberlain_endpoint.cli.files import Overrides
from chamberlain_endpoint.cli.group import READABLE, cli, common, print_json
from chamberlain_endpoint.cli.layout import SERVICE_ACCOUNT
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_identity_id

_NO_HIGH_ASSURANCE: Final = (
    "--high-assurance is a term of a rented service, with its contract, and is not offered "
    "here. What it stands for holds for every endpoint: the audit log is always written, the "
    "hub's statements are signed, and results are their owner's alone. Leave the option out."
)
_POLICY_WARNING: Final = (
    "Warning: the endpoint has an authentication policy. A hub that cannot check it lets nobody "
    "in: take authentication_policy out of config.yaml if callers are refused for it."
)


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
    type=click.File(errors="replace"),
    required=True,
    help="File with a hub token of the endpoint's owner; - is standard input.",
)
@click.option(
    "--hub-key-file",
    type=click.File(errors="replace"),
    help="File with the hub's public keys (chamberlain-hub key show); - is standard input. "
    "Default: ask the hub, and print the fingerprint for you to compare.",
)
@click.option("--display-name", help="What people see. Default: NAME.")
@click.option("--contact-email", help="Whom users may ask; needed with --multi-user true.")
@click.option("--owner", help="Identity (UUID) to let in; single form. Default: the token's.")
@click.option("--id-mapping-config", type=READABLE, help="Your identity mapping.")
@click.option("--template-config", type=READABLE, help="Your template of user endpoints.")
@click.option("--schema-config", type=READABLE, help="Your JSON schema of callers' options.")
@click.option("--user-env-config", type=READABLE, help="Your environment of user endpoints.")
@click.option("--core-config", "core", type=READABLE, help="Your config.yaml; options win over it.")
@click.option("--manager-config", type=READABLE, hidden=True, help="Old name of --core-config.")
@click.option("--subscription-id", type=click.UUID, help="Kept and sent; our hub asks for none.")
@click.option("--auth-policy", type=click.UUID, help="Authentication policy that exists.")
@click.option("--auth-policy-project-id", type=click.UUID, help="Project of a new policy.")
@click.option("--auth-policy-display-name", help="Name of a new policy.")
@click.option("--auth-policy-description", help="What a new policy is for.")
@click.option("--auth-policy-mfa-required", is_flag=True, help="A second factor is demanded.")
@click.option("--allowed-domains", help="Domains that a new policy lets in, with commas.")
@click.option("--excluded-domains", help="Domains that a new policy keeps out, with commas.")
@click.option("--auth-timeout", type=click.IntRange(min=0), help="Most seconds since login.")
@click.option(
    "--pam",
    is_flag=True,
    help=f"A PAM session around each user endpoint; installs {pam_service.PATH} if there is none. "
    "The same: pam in --core-config.",
)
@click.option("--high-assurance", is_flag=True, help="Refused: see the sentence that it gives.")
@common
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
    core: Path | None,
    manager_config: Path | None,
    pam: bool,
    high_assurance: bool,
    config_dir: Path | None,
    as_json: bool,
    **policy: Any,
) -> None:
    """Write the files of a new endpoint NAME, and say what each is for.

    Nothing is started and nothing is sent to the hub: the endpoint registers when it starts.
    As root the service account `chamberlain` is made when it is absent.
    """
    more = _more(core or manager_config, policy)
    session = pam_service.wished(more, flag=pam)
    if contact_email is None and isinstance(more.get("email"), str):
        contact_email = more["email"]
    _check_form(multi_user, contact_email, owner, id_mapping_config)
    if session.enable and (multi_user is False or os.geteuid() != 0):
        raise click.UsageError("PAM sessions are for --multi-user true: only root can open them")
    if high_assurance:
        raise click.UsageError(_NO_HIGH_ASSURANCE)
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
        token=hub.one_token(token_file.read()),
        hub_key_text=hub_key_file.read() if hub_key_file else None,
        display_name=display_name,
        email=contact_email,
        owner=owner,
        brought=Overrides(template_config, schema_config, user_env_config, id_mapping_config),
        more=more,
        pam=session,
    )
    if "authentication_policy" in more:
        click.echo(_POLICY_WARNING, err=True)
    made = configure(wish)
    again = f" --config-dir {config_dir}" if config_dir else ""
    following = f"chamberlain-endpoint start {name}{again}"
    if as_json:
        print_json(_configured_document(made, following))
    else:
        _print_configured(made, following)


def _more(core: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of config.yaml that come from a file and from the policy options."""
    more = core_config.read(core) if core else {}
    known, subscription = given["auth_policy"], given["subscription_id"]
    terms = {
        "project_id": given["auth_policy_project_id"],
        "display_name": given["auth_policy_display_name"],
        "description": given["auth_policy_description"],
        "mfa_required": given["auth_policy_mfa_required"],
        "allowed_domains": core_config.split(given["allowed_domains"]),
        "excluded_domains": core_config.split(given["excluded_domains"]),
        "auth_timeout": given["auth_timeout"],
    }
    more |= core_config.policy(None if known is None else str(known), terms)
    return more | ({} if subscription is None else {"subscription_id": str(subscription)})


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
        "pam_service_made": str(pam_service.PATH) if made.pam_service_made else None,
        "next": following,
    }


def _print_configured(made: Configured, following: str) -> None:
    if made.account_made:
        click.echo(f"Made the service account {SERVICE_ACCOUNT!r} (no shell, no home).")
    if made.pam_service_made:
        click.echo(f"Made the PAM service {pam_service.PATH}: see who may come in.")
    click.echo(f"Endpoint {made.layout.name} ({made.endpoint_id}) in {made.layout.config}:")
    width = max(len(file.path.name) for file in made.files)
    for file in made.files:
        click.echo(f"  {file.path.name:<{width}}  {file.purpose}")
    for fingerprint in made.fingerprints:
        click.echo(f"Hub key {fingerprint} (compare with: chamberlain-hub key show)")
    click.echo(f"Next: {following}")
