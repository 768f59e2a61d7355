"""`./dev package`: what is built, and where it goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from devtools.package import build, release, repository
from devtools.say import CannotGoOnError, Reporter, last_line

_RPM: Final = "rpm"
_SYSTEMS: Final = (*(f"deb{debian}" for debian in release.SUITES), _RPM)
_PATH = click.Path(file_okay=False, path_type=Path)


@click.command("package", short_help="Wheels, .deb, .rpm, a signed apt repository.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(_SYSTEMS),
    help="Only for this system; several may be named. Default: all.",
)
@click.option("--revision", help="Instead of the number of commits; a higher one replaces a lower.")
@click.option("--target", type=_PATH, default=build.default_target(), help="Default: dist.")
@click.option(
    "--repository",
    "folder",
    type=_PATH,
    help="Also make this a signed apt repository of the .deb, or add them to it.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Secret OpenPGP key that signs it; default: DIR.key, made if absent.",
)
def package_command(
    only: tuple[str, ...],
    revision: str | None,
    target: Path,
    folder: Path | None,
    key: Path | None,
) -> None:
    """Build the wheel, the Debian packages and the RPM into dist/. As root, on Debian.

    Each package has a Python environment of its own and needs no network where it is
    installed. The first run builds a Debian for each release and fetches wheels; both are kept
    in the lab's cache. Two runs on one commit make the same bytes.
    """
    if key and not folder:
        raise click.UsageError("--key goes with --repository")
    report = Reporter()
    chosen = release.current(revision)
    systems = only or _SYSTEMS
    debians = [debian for debian in release.SUITES if f"deb{debian}" in systems]
    wanted = build.Wanted(debians, with_rpm=_RPM in systems)
    made: list[Path] = []
    fault = ""
    try:
        made = build.build(wanted, chosen, target.absolute(), report)
        if folder is not None:
            with report.step(f"Making the repository {folder}"):
                debs = [one for one in made if one.suffix == ".deb"]
                made += repository.make(folder.absolute(), debs, chosen, key)
    except CannotGoOnError as error:
        fault = str(error)
    for file in made:
        click.echo(file)
    if fault:
        report.line(f"Error: {fault}")
    sys.exit(last_line(len(made), 1 if fault else 0))
