"""`./dev`: one word for each habit. Each command's last line says what passed and failed."""

from __future__ import annotations

import os
import sys

import click

from devtools import checks, debian, environment, testing
from devtools.paths import ROOT
from devtools.say import Reporter

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
def cli() -> None:
    """Build, check, test, show and measure Chamberlain."""


@cli.command()
def setup() -> None:
    """Make the environment: editable install with all extras. Does nothing the second time."""
    report = Reporter()
    environment.ensure("endpoint,hub,dev", report)
    report.line(f"Ready: {ROOT}/.venv. Next: ./dev check")


@cli.command()
@click.argument("only", nargs=-1)
def check(only: tuple[str, ...]) -> None:
    """Run the quick gate: ruff, mypy, import contracts, unit tests, house rules.

    ONLY: run the checks whose name contains one of these words (such as `ruff`).
    """
    sys.exit(checks.run(only))


@cli.command()
@click.argument("chosen", nargs=-1, metavar="[GROUP]...")
@click.option(
    "--without",
    multiple=True,
    metavar="MARK",
    help="Leave out tests with this marker, openly (needs_root, needs_rabbit, needs_postgres).",
)
@click.option("-k", "words", metavar="WORDS", help="Only tests whose name matches, as pytest -k.")
@click.option("-x", "--first", is_flag=True, help="Stop at the first failure.")
def test(chosen: tuple[str, ...], without: tuple[str, ...], words: str, first: bool) -> None:
    """Run test groups, all by default, on a real RabbitMQ and PostgreSQL.

    As root it installs the Debian packages it needs and says so; no service of theirs is
    started. A test that should run and is skipped counts as failed.
    """
    unknown = sorted(set(chosen) - set(testing.groups()))
    if unknown:
        raise click.UsageError(
            f"no such test group: {', '.join(unknown)}. There are: {', '.join(testing.groups())}."
        )
    more = (["-k", words] if words else []) + (["-x"] if first else [])
    sys.exit(testing.run(chosen, without, more))


def main() -> None:
    """Run the command line."""
    try:
        cli(prog_name="./dev")
    except (environment.InstallError, debian.PackagesMissingError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
