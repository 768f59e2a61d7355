"""`start`, `stop` and `list`: their options and what they tell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from chamberlain_endpoint.cli import daemons
from chamberlain_endpoint.cli.group import cli, common, print_json


@cli.command("start")
@click.argument("name")
@click.option("--detach", is_flag=True, help="Return when it runs; go on in the background.")
@common
def start_command(name: str, detach: bool, config_dir: Path | None, as_json: bool) -> None:
    """Run endpoint NAME: launcher and manager under supervisord.

    Stays in the foreground (for systemd, or a look) unless --detach is given. Both programs
    are started again when they end.
    """
    endpoint = daemons.known(name, config_dir)
    if not detach:
        click.echo(f"Logs: {endpoint.layout.log}. Stop with Ctrl-C.", err=True)
        daemons.start(endpoint)
    pid = daemons.start_detached(endpoint)
    if as_json:
        ids = {"endpoint_id": endpoint.settings.endpoint_id, "pid": pid}
        print_json({"name": name, "state": "running", **ids, "log": str(endpoint.layout.log)})
    else:
        click.echo(f"{name} runs (supervisord is process {pid}). Logs: {endpoint.layout.log}")


@cli.command("stop")
@click.argument("name")
@common
def stop_command(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Stop endpoint NAME and its user endpoints; return when nothing of it is left."""
    stopped = daemons.stop(daemons.known(name, config_dir))
    if as_json:
        print_json({"name": name, "state": "stopped", "was_running": stopped})
    else:
        click.echo(f"{name} is stopped." if stopped else f"{name} did not run.")


@cli.command("list")
@common
def list_command(config_dir: Path | None, as_json: bool) -> None:
    """Show the endpoints of this host: state, id, and how many user endpoints run."""
    rows = daemons.rows(config_dir)
    if as_json:
        print_json({"endpoints": [asdict(row) for row in rows]})
        return
    if not rows:
        click.echo("No endpoint. Make one with: chamberlain-endpoint configure NAME")
        return
    width = max(len("NAME"), *(len(row.name) for row in rows))
    click.echo(f"{'NAME':<{width}}  {'STATE':<10}  {'ENDPOINT ID':<36}  USER ENDPOINTS")
    for row in rows:
        count = row.user_endpoints
        click.echo(f"{row.name:<{width}}  {row.state:<10}  {row.endpoint_id:<36}  {count}")
