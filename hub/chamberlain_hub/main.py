"""`chamberlain-hub`: arguments in, one job done, an exit code out.

0: done. 1: it could not be done, and why is on standard error. 2: the arguments or the
settings are wrong. What a program would read goes to standard output, all else to standard
error. Heavy imports happen inside the commands that need them, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from chamberlain_hub.cli.audit import audit
from chamberlain_hub.cli.backups import backup, restore
from chamberlain_hub.cli.frame import HubGroup, json_option, open_database, say, settings_of
from chamberlain_hub.cli.keys import key
from chamberlain_hub.cli.people import token, user
from chamberlain_hub.cli.policies import policy
from chamberlain_hub.cli.service_accounts import service_account


@click.group(cls=HubGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings, as TOML. Default: what CHAMBERLAIN_HUB_CONFIG names, else "
    "/etc/chamberlain/hub.toml if it exists. CHAMBERLAIN_HUB_<SETTING> goes before the file.",
)
@click.version_option(package_name="chamberlain", prog_name="chamberlain-hub")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """The hub of Chamberlain: who people are, their functions, their tasks.

    \b
    A first start, with RabbitMQ on this host:
      chamberlain-hub serve
      chamberlain-hub user add alice@example.edu
      chamberlain-hub token create alice@example.edu --expires 30d

    Exit codes: 0 done, 1 could not be done, 2 wrong arguments or settings.
    """
    ctx.obj = config


@cli.command()
@click.option(
    "--migrate",
    "migrate_first",
    is_flag=True,
    help="Bring the database up to date first. SQLite: always done.",
)
@click.pass_obj
def serve(config: Path | None, migrate_first: bool) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP: begin afresh with the settings as they are then.

    On first start, the data folder, the SQLite database and the signing key are made, for
    this user alone. Logs are JSON lines on standard error.
    """
    from chamberlain_hub.api.app import serve as serve_api
    from chamberlain_wire.logs import set_up

    set_up()
    settings = settings_of(config)
    with open_database(settings) as store:
        if migrate_first or store.is_sqlite:
            store.migrate()
        store.check_migrated()
    if serve_api(settings):
        _begin_afresh()


def _begin_afresh() -> None:
    import os
    import signal
    import sys

    # Until the new program listens, another one of these must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


@cli.command()
@json_option
@click.pass_obj
def migrate(config: Path | None, as_json: bool) -> None:
    """Bring the database's tables up to date.

    Make a backup first, and stop all hubs that use the database. A second run changes nothing.
    """
    with open_database(settings_of(config)) as store:
        store.migrate()
    say({"migrated": True}, "The database is up to date.", as_json=as_json)


@cli.command("check-config")
@json_option
@click.pass_obj
def check_config(config: Path | None, as_json: bool) -> None:
    """Check the settings as serve would, and show them; passwords are not shown."""
    settings = settings_of(config)
    shown = {name: str(getattr(settings, name)) for name in type(settings).model_fields}
    width = max(map(len, shown))
    lines = [f"{name.ljust(width)}  {value}" for name, value in shown.items()]
    say({"settings": shown}, "\n".join(lines), as_json=as_json)
    click.echo("The settings are usable.", err=True)


cli.add_command(key)
cli.add_command(backup)
cli.add_command(restore)
cli.add_command(audit)
cli.add_command(user)
cli.add_command(token)
cli.add_command(service_account)
cli.add_command(policy)


def main() -> None:
    """Run the command line."""
    cli(prog_name="chamberlain-hub")
