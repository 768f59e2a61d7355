"""`doctor` and `diagnostic`: what an administrator asks when something does not work."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from chamberlain_endpoint.cli import daemons, diagnostic, doctor
from chamberlain_endpoint.cli.doctor import State
from chamberlain_endpoint.cli.group import cli, common, print_json

_COLOURS: Final = {State.GOOD: "green", State.BAD: "red", State.UNKNOWN: "yellow"}


@cli.command("doctor")
@click.argument("name")
@click.option("-u", "--username", help="A caller whose account is looked for. Default: the owner.")
@click.option(
    "--as",
    "account",
    metavar="ACCOUNT",
    help="Run the chain of this local account in a throwaway container instead. Root only.",
)
@common
def doctor_command(
    name: str,
    username: str | None,
    account: str | None,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Look at every link of the chain on this host, and say what to do about each that is bad.

    Files, supervisord, launcher and manager, disk, hub, clock, token, broker, heartbeat, and
    the caller's account; with --as: engine, container, home, munge and the scheduler's
    commands, from inside. Nothing is changed. The exit code is 1 when a link is bad.
    """
    reports = []
    endpoint = daemons.known(name, config_dir)
    found = doctor.examine_as(endpoint, account) if account else doctor.examine(endpoint, username)
    for report in found:
        reports.append(report)
        if not as_json:
            word = click.style(f"{report.state:<7}", fg=_COLOURS[report.state])
            click.echo(f"{word}  {report.link}: {report.said}")
            if report.todo:
                click.echo(f"         -> {report.todo}")
    if as_json:
        print_json({"name": name, "links": [asdict(report) for report in reports]})
    sys.exit(1 if any(report.state is State.BAD for report in reports) else 0)


@cli.command("diagnostic")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file.")
@click.option("-p", "--print-only", is_flag=True, help="Print it all; write no file.")
@click.option(
    "-k",
    "--log-kb",
    type=click.IntRange(min=0),
    default=1024,
    show_default=True,
    help="The end of each log that is taken, in KiB.",
)
@common
def diagnostic_command(
    name: str,
    output: Path | None,
    print_only: bool,
    log_kb: int,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Write one file with what a helper needs to know of endpoint NAME, without its secrets.

    Tokens, keys, passwords in addresses and the values of the environment file are taken
    out. Look into it all the same before you send it: it has names of people and hosts.
    """
    endpoint = daemons.known(name, config_dir)
    if print_only:
        for member in diagnostic.members(endpoint, log_kb):
            click.echo(f"==> {member.name} <==\n{member.text}")
        return
    file = output or Path(diagnostic.usual_name(endpoint))
    names = diagnostic.write(endpoint, file, log_kb)
    if as_json:
        print_json({"name": name, "file": str(file), "members": list(names)})
    else:
        click.echo(f"{file} written: {', '.join(names)}")
