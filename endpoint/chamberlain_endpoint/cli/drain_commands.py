"""`drain` and `resume`: their options and what they tell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from chamberlain_endpoint.cli import daemons, draining
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.launcher.protocol import Running

_MOST_GRACE_S: Final = 3600.0


@cli.command("drain")
@click.argument("name")
@click.option(
    "--grace",
    type=click.FloatRange(0, _MOST_GRACE_S),
    default=_MOST_GRACE_S,
    show_default=True,
    help="Seconds that running tasks may take to finish; what runs longer is lost, and told so.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    help="Seconds to wait here; a second `drain` goes on waiting. Default: until it is drained.",
)
@common
def drain_command(
    name: str, grace: float, wait: float | None, config_dir: Path | None, as_json: bool
) -> None:
    """Have endpoint NAME take nothing new and finish what runs; return when nothing does.

    The manager is stopped, the launcher is not. Each user endpoint finishes the tasks that run
    and leaves; all others wait at the hub, where people go on submitting, until `resume`,
    `restart` or a boot. Exit code 1: something still runs after --wait.
    """
    endpoint = daemons.known(name, config_dir)
    left = draining.drain(
        endpoint,
        grace_s=grace,
        wait_s=float("inf") if wait is None else wait,
        tell=_tell,
    )
    if as_json:
        state = "draining" if left else "drained"
        print_json({"name": name, "state": state, "running": [_about(one) for one in left]})
    elif not left:
        click.echo(f"{name} is drained. Go on with: chamberlain-endpoint resume {name}")
    sys.exit(1 if left else 0)


@cli.command("resume")
@click.argument("name")
@common
def resume_command(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Start the manager of endpoint NAME again, after `drain`; tasks that wait are run."""
    draining.resume(daemons.known(name, config_dir))
    if as_json:
        print_json({"name": name, "state": "running"})
    else:
        click.echo(f"{name} goes on.")


def _tell(left: list[Running]) -> None:
    people = ", ".join(sorted({one.account for one in left}))
    click.echo(f"Still running: {len(left)} user endpoint(s) of {people}.", err=True)


def _about(one: Running) -> dict[str, str]:
    return {"user_endpoint": one.user_endpoint, "account": one.account}
