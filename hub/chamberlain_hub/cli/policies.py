"""`chamberlain-hub policy`: who may use endpoints that ask for an authentication policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chamberlain_hub.cli.frame import duration, iso, json_option, open_store, say, table

if TYPE_CHECKING:
    from chamberlain_hub.domain.policy import Policy


@click.group()
def policy() -> None:
    """Authentication policies, which endpoints ask for by their id.

    An endpoint that asks for a policy that is not defined here lets nobody in.
    """


@policy.command("create")
@click.argument("name")
@click.option("--id", "policy_id", metavar="UUID", help="As an endpoint asks for. Default: new.")
@click.option(
    "--include",
    multiple=True,
    metavar="DOMAIN",
    help="Let in identities of this domain (*.example.edu: and all below). Default: all.",
)
@click.option("--exclude", multiple=True, metavar="DOMAIN", help="Keep out, also if included.")
@click.option(
    "--session-age",
    callback=duration,
    default="never",
    help="How long ago the identity may have been proven: 30d, 12h, 45m. Default: whenever.",
)
@click.option("--mfa", is_flag=True, help="Ask for a second factor: nobody of this hub has one.")
@json_option
@click.pass_obj
def policy_create(
    config: Path | None,
    /,
    name: str,
    policy_id: str | None,
    session_age: float | None,
    as_json: bool,
    **rules: Any,
) -> None:
    """Define a policy. It never changes afterwards: delete it and define another.

    A caller comes in when one of their identities meets all of it.
    """
    from chamberlain_hub.domain.policy import Policy
    from chamberlain_wire.ids import new_id

    wanted = Policy(policy_id or new_id(), name, session_age_s=session_age, **rules)
    with open_store(config) as store:
        made = store.add_policy(wanted)
    say(_document(made), made.id, as_json=as_json)
    click.echo(f"Endpoints ask for it with: authentication_policy: {made.id}", err=True)


@policy.command("list")
@json_option
@click.pass_obj
def policy_list(config: Path | None, as_json: bool) -> None:
    """List policies."""
    with open_store(config) as store:
        found = store.list_policies()
    say(
        {"policies": [_document(one) for one in found]},
        table(("POLICY", "NAME", "RULES"), [(one.id, one.name, _rules(one)) for one in found]),
        as_json=as_json,
    )


@policy.command("delete")
@click.argument("policy_id")
@json_option
@click.pass_obj
def policy_delete(config: Path | None, policy_id: str, as_json: bool) -> None:
    """Forget a policy: endpoints that ask for it let nobody in from now on."""
    with open_store(config) as store:
        store.delete_policy(policy_id)
    say({"id": policy_id, "deleted": True}, f"Policy {policy_id} is deleted.", as_json=as_json)


def _document(one: Policy) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "include": list(one.include),
        "exclude": list(one.exclude),
        "session_age_s": one.session_age_s,
        "mfa": one.mfa,
        "created_at": iso(one.created_at),
    }


def _rules(one: Policy) -> str:
    words = [f"include {domain}" for domain in one.include]
    words += [f"exclude {domain}" for domain in one.exclude]
    words += [f"session age {one.session_age_s:.0f} s"] if one.session_age_s is not None else []
    words += ["second factor"] if one.mfa else []
    return ", ".join(words) or "-"
