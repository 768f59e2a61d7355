"""`enable-on-boot` and `disable-on-boot`: their options and what they tell."""

from __future__ import annotations

from pathlib import Path

import click

from chamberlain_endpoint.cli import boot, daemons
from chamberlain_endpoint.cli.group import cli, common, print_json

_UNIT_DIR = click.option(
    "--unit-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the unit, for images and packages: systemd is told nothing.",
)


@cli.command("enable-on-boot")
@click.argument("name")
@_UNIT_DIR
@common
def enable_command(
    name: str, unit_dir: Path | None, config_dir: Path | None, as_json: bool
) -> None:
    """Have endpoint NAME started on boot: write a systemd unit, closed as far as it can be.

    As root a unit of the system, else one of your own account. The unit says what is left
    open, and why. Where systemd does not run, the unit is written and the rest is printed.
    """
    done = boot.enable(daemons.known(name, config_dir), config_dir, unit_dir)
    _tell(name, done, "written", as_json)


@cli.command("disable-on-boot")
@click.argument("name")
@_UNIT_DIR
@common
def disable_command(
    name: str, unit_dir: Path | None, config_dir: Path | None, as_json: bool
) -> None:
    """Have endpoint NAME no longer started on boot: take its unit away. It is not stopped."""
    done = boot.disable(daemons.known(name, config_dir).layout, unit_dir)
    _tell(name, done, "removed", as_json)


def _tell(name: str, done: boot.Booted, word: str, as_json: bool) -> None:
    if as_json:
        unit = {"unit": str(done.unit), "state": word}
        print_json({"name": name, **unit, "did": list(done.did), "next": list(done.following)})
        return
    click.echo(f"{done.unit} {word}.")
    for command in done.did:
        click.echo(f"Did: {command}")
    for command in done.following:
        click.echo(f"Next: {command}")
