"""`./dev`: one word for each habit. Each command's last line says what passed and failed."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import click
from click.core import ParameterSource

from devtools import bench, checks, demo, demo_runs, environment, hook, stage, testing
from devtools.image.commands import image_commands
from devtools.lab.commands import lab_commands
from devtools.package.commands import package_command
from devtools.paths import ROOT
from devtools.say import CannotGoOnError, Reporter, last_line

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
def cli() -> None:
    """Build, check, test, show and measure Chamberlain."""


@cli.command(short_help="Make the environment and the commit hook.")
def setup() -> None:
    """Make the environment and the commit hook. Does nothing the second time.

    The environment is .venv with an editable install and all extras; the hook runs the checks
    that take a second. A hook of your own is left alone.
    """
    report = Reporter()
    environment.ensure(environment.EVERYTHING, report)
    where = hook.install()
    report.line(f"Commit hook: {where}" if where else "No commit hook was written.")
    report.line(f"Ready: {ROOT}/.venv. Next: ./dev check")


@cli.command(short_help="Run the quick gate (under a minute).")
@click.argument("only", nargs=-1)
def check(only: tuple[str, ...]) -> None:
    """Run the quick gate: ruff, mypy, import contracts, unit tests, house rules.

    ONLY: run the checks whose name contains one of these words (such as `ruff`).
    """
    sys.exit(checks.run(only))


@cli.command(short_help="Run test groups on a real RabbitMQ and PostgreSQL.")
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
    """Run test groups, on a real RabbitMQ and PostgreSQL. By default all but `vm`.

    As root it installs the Debian packages it needs and says so; no service of theirs is
    started. A test that should run and is skipped counts as failed.
    """
    unknown = sorted(set(chosen) - set(testing.groups()) - set(testing.ALIASES))
    if unknown:
        raise click.UsageError(
            f"no such test group: {', '.join(unknown)}. There are: {', '.join(testing.groups())}."
        )
    more = (["-k", words] if words else []) + (["-x"] if first else [])
    sys.exit(testing.run(chosen, without, more))


@cli.command("demo", short_help="Two people, two local accounts, for real.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON object.")
@click.option("--keep", is_flag=True, help="Leave it running, and say how to use it.")
@click.option("--down", is_flag=True, help="Stop it and remove all that it made.")
def demo_command(as_json: bool, keep: bool, down: bool) -> None:
    """Show two people's functions run as two local accounts, and a third person refused.

    As root on Debian it installs what is missing, makes two accounts for the demo, and plays
    ansible/site.yml with the inventory `demo`. Not as root it shows the single-account form.
    Progress goes to standard error.
    """
    if down and (keep or as_json):
        raise click.UsageError("--down goes alone")
    report = Reporter()
    with stage.held(stage.default_folder()):
        show = demo.Demo(stage.default_folder(), report)
        if down:
            removed = show.down()
            report.line(f"Removed: {', '.join(removed) or 'nothing was there'}.")
            report.line("Debian packages that it needed stay installed.")
            sys.exit(last_line(max(1, len(removed)), 0))
        runs = show.run(keep=keep)
    passed = sum(run.as_expected for run in runs)
    if as_json:
        click.echo(demo_runs.as_json(runs))
    else:
        demo_runs.print_table(runs)
    if keep:
        report.line(show.how_to_use())
    sys.exit(last_line(passed, len(runs) - passed, to_stderr=as_json))


@cli.command("bench", short_help="Cold start, warm round trip, tasks a second.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--tasks", type=click.IntRange(1, 100_000), default=10_000, show_default=True)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(["threads", "htex"]),
    default=("threads", "htex"),
    help="Only this engine.",
)
@click.option(
    "--peer", is_flag=True, help="Compare with the public agent and SDK, in turn. Needs root."
)
@click.option("--quick", is_flag=True, help="With --peer: a minute's worth, 200 tasks.")
@click.pass_context
def bench_command(
    context: click.Context,
    as_json: bool,
    tasks: int,
    engines: tuple[str, ...],
    peer: bool,
    quick: bool,
) -> None:
    """Measure the path of a task through the SDK: cold start, warm round trip, tasks a second.

    On a throwaway site of this machine, as the demo's; everything but the installed programs
    is removed afterwards.

    With --peer: our agent and SDK and the public ones, unmodified, on the same hub, broker and
    machine, and how many times better ours are; also in build/peer. In full it takes about six
    minutes. `python -m bench.peer` is the same, and can write the figures into the docs.
    """
    report = Reporter()
    if peer:
        if any(_was_given(context, option) for option in ("tasks", "engines")):
            raise click.UsageError("--peer measures both engines, with tasks of its own")
        _bench_peer(report, as_json=as_json, quick=quick)
    if quick:
        raise click.UsageError("--quick goes with --peer")
    with stage.held(stage.default_folder()):
        figures = bench.run(stage.default_folder(), report, tasks=tasks, engines=engines)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        bench.print_table(figures)
    late = bench.missed(figures)
    for words in late:
        report.line(f"Not reached: {words}")
    # A missed target is a figure, not a fault.
    sys.exit(last_line(len(figures["engines"]), 0, to_stderr=as_json))


cli.add_command(lab_commands)
cli.add_command(image_commands)
cli.add_command(package_command)


def _was_given(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def _bench_peer(report: Reporter, *, as_json: bool, quick: bool) -> NoReturn:
    environment.ensure(environment.EVERYTHING, report)
    # Only now: it needs what was installed just before.
    from bench.peer import run
    from bench.peer.__main__ import peer

    found = peer(report, run.DEFAULT_OUT, quick=quick, as_json=as_json)
    sys.exit(last_line(len(found["rows"]), 0, to_stderr=as_json))


def main() -> None:
    """Run the command line. 0: all passed. 1: something failed. 2: it could not be tried."""
    try:
        cli(prog_name="./dev")
    except CannotGoOnError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
