"""`./dev image`: the user endpoint's image, built without a registry."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab.lab import Lab
from devtools.say import Reporter, last_line

_LAB = click.option(
    "--lab",
    "name",
    metavar="NAME",
    help="Work on the login node of this lab, which must be up. Default: a lab for just this.",
)


@click.group("image", short_help="The user endpoint's image: build, save, load, push.")
def image_commands() -> None:
    """Build and hand on the image in which user endpoints run.

    It is built on a host of the lab from a Debian that mmdebstrap makes, with our wheel from the
    checkout; nothing of it comes from a registry. Needs root on Debian.
    """


@image_commands.command()
@_LAB
def build(name: str | None) -> None:
    """Build the image of the checkout, and say its digest. Does nothing the second time."""
    about = builds.build(Reporter(), _lab(name)).about
    megabytes = about["bytes"] / 1e6
    click.echo(f"{about['name']} {about['version']} {about['digest']}")
    click.echo(f"{about['parts']} parts, {megabytes:.0f} MB as an archive", err=True)
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def save(name: str | None, folder: Path) -> None:
    """Write the image into FOLDER: OCI archive, digest, and parts (CycloneDX)."""
    for file in engines.save(builds.build(Reporter(), _lab(name)), folder):
        click.echo(str(file))
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
def load(name: str | None) -> None:
    """Load the image into this machine's Podman or Docker, or into a lab's login node."""
    lab = _lab(name)
    click.echo(engines.load(builds.build(Reporter(), lab), lab))
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
@click.option("--plain-http", is_flag=True, help="The registry has no TLS: one of a lab.")
@click.argument("target", metavar="REGISTRY/NAME:TAG")
def push(name: str | None, plain_http: bool, target: str) -> None:
    """Copy the image to a registry, and say its name there by digest."""
    lab = _lab(name)
    image = builds.build(Reporter(), lab)
    click.echo(engines.push(image, target, lab, plain=plain_http))
    sys.exit(last_line(1, 0, to_stderr=True))


def _lab(name: str | None) -> Lab | None:
    if name is None:
        return None
    lab = Lab(name)
    _ = lab.facts  # or it says that the lab is not up
    return lab
