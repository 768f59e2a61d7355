"""`./dev image`: our images, of user endpoint, hub, broker and database, without a registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from devtools.image import build as builds
from devtools.image import engines
from devtools.image.registry import Access
from devtools.lab.lab import Lab
from devtools.say import Reporter, last_line

_LAB = click.option(
    "--lab",
    "name",
    metavar="NAME",
    help="Work on the login node of this lab, which must be up. Default: a lab for just this.",
)
_WHICH = click.option(
    "--which",
    type=click.Choice(sorted(builds.KINDS)),
    default=builds.USER_ENDPOINT.folder,
    show_default=True,
    help="Which image.",
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("image", short_help="Images of endpoint, hub, broker, database: save, load, push.")
def image_commands() -> None:
    """Build and hand on the images in which user endpoints, hub, broker and database run.

    They are built on a host of the lab from a Debian that mmdebstrap makes, with our wheel from the
    checkout, or with Debian's RabbitMQ or PostgreSQL for containers/compose.yaml; nothing of them
    comes from a registry. Needs root on Debian.
    """


@image_commands.command()
@_LAB
@_WHICH
def build(name: str | None, which: str) -> None:
    """Build the image of the checkout, and say its digest. Does nothing the second time."""
    about = builds.build(Reporter(), _lab(name), builds.KINDS[which]).about
    megabytes = about["bytes"] / 1e6
    click.echo(f"{about['name']} {about['version']} {about['digest']}")
    click.echo(f"{about['parts']} parts, {megabytes:.0f} MB as an archive", err=True)
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
@_WHICH
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def save(name: str | None, which: str, folder: Path) -> None:
    """Write the image into FOLDER: OCI archive, digest, and parts (CycloneDX)."""
    for file in engines.save(builds.build(Reporter(), _lab(name), builds.KINDS[which]), folder):
        click.echo(str(file))
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
@_WHICH
@click.option(
    "--engine",
    type=click.Choice(engines.ENGINES),
    help="Which engine. Default: Podman on a lab, else the first that is installed.",
)
def load(name: str | None, which: str, engine: str | None) -> None:
    """Load the image into Podman or Docker, of this machine or of a lab's login node.

    Prints its name there, and for Docker, which names images by their configuration, its image id.
    """
    lab = _lab(name)
    image = builds.build(Reporter(), lab, builds.KINDS[which])
    loaded = engines.load(image, lab, engine or "")
    click.echo(loaded)
    if not loaded.startswith("localhost/"):
        click.echo(engines.docker_id(image))
    sys.exit(last_line(1, 0, to_stderr=True))


@image_commands.command()
@_LAB
@_WHICH
@click.option("--plain-http", is_flag=True, help="The registry has no TLS: one of a lab.")
@click.option("--ca", type=_FILE, help="Certificate (PEM) of the registry's own authority.")
@click.option("--user", default="", help="Who we are at the registry.")
@click.option("--password-file", type=_FILE, help="File with that user's password, in one line.")
@click.argument("target", metavar="REGISTRY/NAME:TAG")
def push(name: str | None, which: str, target: str, **given: Any) -> None:
    """Copy the image to a registry, and say its name there by digest.

    Without --user the registry lets everybody in, or `skopeo login` was here before.
    """
    lab = _lab(name)
    access = Access(
        given["plain_http"], given["ca"], user=given["user"], password_file=given["password_file"]
    )
    if access.password_file is not None and not access.user:
        raise click.UsageError("--password-file goes with --user")
    if access.plain and (access.ca or access.user):
        raise click.UsageError("--plain-http would show the password to everybody; use --ca")
    image = builds.build(Reporter(), lab, builds.KINDS[which])
    click.echo(engines.push(image, target, lab, access))
    sys.exit(last_line(1, 0, to_stderr=True))


def _lab(name: str | None) -> Lab | None:
    if name is None:
        return None
    lab = Lab(name)
    _ = lab.facts  # or it says that the lab is not up
    return lab
