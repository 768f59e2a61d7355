"""`start`, `stop`, `restart`, `delete` and `list`: their options and what they tell."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from chamberlain_endpoint.cli import check_files, daemons, removal, tokens
from chamberlain_endpoint.cli.errors import CommandFailedError
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
@click.option("--remote", is_flag=True, help="Have the hub cut it off first, wherever it runs.")
@common
def stop_command(name: str, remote: bool, config_dir: Path | None, as_json: bool) -> None:
    """Stop endpoint NAME and its user endpoints; return when nothing of it is left.

    With --remote the hub first drops the connections of its manager, also one that runs on
    another host with the same id, and lets none register for half a minute. User endpoints
    elsewhere go on with what they have. A manager elsewhere that is supervised comes back
    after that: stop it there too.
    """
    endpoint = daemons.known(name, config_dir)
    locked_until = tokens.lock(endpoint) if remote else None
    stopped = daemons.stop(endpoint)
    if as_json:
        told = {"was_running": stopped, "locked_until": locked_until}
        print_json({"name": name, "state": "stopped", **told})
        return
    click.echo(f"{name} is stopped." if stopped else f"{name} did not run.")
    if locked_until is not None:
        click.echo(f"The hub has cut it off; it may register again after {locked_until}.")


@cli.command("restart")
@click.argument("name")
@click.option("--detach", is_flag=True, help="Return when it runs; go on in the background.")
@common
def restart_command(name: str, detach: bool, config_dir: Path | None, as_json: bool) -> None:
    """Stop endpoint NAME and its user endpoints, and start it again.

    Edits of the template, the schema, the environment and the mapping need no restart.
    """
    endpoint = daemons.known(name, config_dir)
    faults = check_files.check(endpoint.layout.config).findings
    if faults:
        raise CommandFailedError(
            f"{name} goes on as it is: it would not start again. {faults[0].text()} "
            f"(all: chamberlain-endpoint check-config {name})"
        )
    if daemons.restart_by_systemd(endpoint):
        told = {"name": name, "state": "running", "was_running": True}
        print_json(told) if as_json else click.echo(f"{name} runs again, by systemd.")
        return
    stopped = daemons.stop(endpoint)
    if not detach:
        click.echo(f"Logs: {endpoint.layout.log}. Stop with Ctrl-C.", err=True)
        daemons.start(endpoint)
    pid = daemons.start_detached(endpoint)
    if as_json:
        print_json({"name": name, "state": "running", "was_running": stopped, "pid": pid})
    else:
        click.echo(f"{name} runs again (supervisord is process {pid}).")


@cli.command("delete")
@click.argument("name")
@click.option("--force", is_flag=True, help="Stop it if it runs; go on if the hub says no.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def delete_command(
    name: str, force: bool, yes: bool, config_dir: Path | None, as_json: bool
) -> None:
    """Delete endpoint NAME: at the hub, then all its files on this host.

    Its id is gone for good, with the state of its user endpoints and the audit log.
    """
    endpoint = daemons.known(name, config_dir)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: give --yes")
        click.confirm(f"Delete {name} and all in {endpoint.layout.config}?", abort=True, err=True)
    done = removal.delete(endpoint, force=force)
    if as_json:
        folders = [str(folder) for folder in done.folders]
        print_json({"name": name, "state": "deleted", "at_hub": done.at_hub, "folders": folders})
    else:
        click.echo(f"{name} is deleted. At the hub: {done.at_hub}.")


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
