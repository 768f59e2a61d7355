"""`chamberlain logs`: what a task printed."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from chamberlain.cli.show import client, json_option, print_json


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option("--stdout", "which", flag_value="stdout", help="Only its standard output.")
@click.option("--stderr", "which", flag_value="stderr", help="Only its standard error.")
@json_option
def logs(task_id: str, which: str | None, as_json: bool) -> None:
    """Print what TASK printed while it ran.

    TASK is an id that `chamberlain tasks` lists. Its standard output goes to standard output,
    its standard error to standard error; an endpoint keeps the end of each, 64 KiB unless its
    configuration says otherwise. Exit code 1 when nothing was captured, with the reason.
    """
    found = client().get_task_logs(task_id)
    if as_json:
        print_json(asdict(found))
    elif not found.captured:
        click.echo(found.reason, err=True)
    else:
        if which != "stderr":
            _show("standard output", found.stdout, found.stdout_cut_bytes, err=False)
        if which != "stdout":
            _show("standard error", found.stderr, found.stderr_cut_bytes, err=which is None)
    if not found.captured:
        sys.exit(1)


def _show(name: str, text: str, cut_bytes: int, *, err: bool) -> None:
    if cut_bytes:
        click.echo(f"[{name}: {cut_bytes} bytes before this were cut off]", err=True)
    click.echo(text, nl=False, err=err)
