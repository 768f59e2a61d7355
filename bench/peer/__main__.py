"""`python -m bench.peer`: compare with the public packages, and write what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bench.peer import figures, page, run
from devtools import stage
from devtools.say import CannotGoOnError, Reporter


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A minute's worth: few repetitions, 200 tasks.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=run.DEFAULT_OUT,
    help="Folder for peer.json and peer.svg (default: build/peer).",
)
@click.option(
    "--write-docs", is_flag=True, help="Measure nothing: put the last run's figures into the docs."
)
def command(quick: bool, as_json: bool, out: Path, write_docs: bool) -> None:
    """Run our agent and SDK beside the public ones, in turn, and print the ratios.

    Needs root, a quiet machine and, in full form, six minutes. Everything but the installed
    programs is removed afterwards.
    """
    report = Reporter()
    if write_docs:
        page.write(run.read(out))
        report.line(f"Written: {page.PAGE}, and {page.PICTURE} beside it")
        return
    peer(report, out, quick=quick, as_json=as_json)


def peer(report: Reporter, out: Path, *, quick: bool, as_json: bool) -> dict[str, Any]:
    """Compare, write the files, print the ratios; return the document."""
    with stage.held(stage.default_folder()):
        document = run.compare(stage.default_folder(), report, quick=quick)
    run.write(document, out)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        figures.print_table(document)
    report.line(f"Written: {out / run.FIGURES} and {out / run.PICTURE}")
    return document


def main() -> None:
    """Run the command line. 0: done. 2: it could not be tried, or not finished."""
    try:
        command(prog_name="python -m bench.peer")
    except CannotGoOnError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
