"""`user-endpoints list | stop | logs`: what runs for whom, through the launcher's socket.

Logs belong to accounts. Root opens none of them: a child that became the account reads the
end of the file, and what it prints loses its control characters before a terminal sees it.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from chamberlain_endpoint.cli import accounts, daemons
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.launcher.client import LauncherClient, LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import Listing, Running
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_endpoint_id

_READER: Final = "chamberlain_endpoint.cli.log_end"
_GRACE_S: Final = 10.0
_MAX_LINES: Final = 10_000


@cli.group("user-endpoints")
def user_endpoints() -> None:
    """List, stop, or read the logs of the user endpoints of endpoint NAME."""


@user_endpoints.command("list")
@click.argument("name")
@click.option("--ended", is_flag=True, help="Show the last 200 that ended, and how, too.")
@common
def list_command(name: str, ended: bool, config_dir: Path | None, as_json: bool) -> None:
    """Show which user endpoints run, as which account, since when."""
    listing = _listing(daemons.known(name, config_dir))
    ends = listing.ended if ended else ()
    if as_json:
        document: dict[str, Any] = {"running": [asdict(one) for one in listing.running]}
        if ended:
            # The tail is user code's last words; `logs` shows them.
            document["ended"] = [
                {key: value for key, value in asdict(one).items() if key != "tail"} for one in ends
            ]
        print_json(document)
        return
    if not listing.running and not ends:
        click.echo("No user endpoint runs.")
        return
    click.echo(f"{'USER ENDPOINT':<36}  {'STATE':<12}  {'ACCOUNT':<16}  {'PID':>7}  SINCE (UTC)")
    for one in sorted(listing.running, key=lambda each: each.started_at):
        row = f"{one.user_endpoint:<36}  {'running':<12}  {one.account:<16}  {one.pid:>7}"
        click.echo(f"{row}  {_when(one.started_at)}")
    for end in ends:
        how = f"signal {end.signal}" if end.signal else f"exit {end.exit_code}"
        click.echo(f"{end.user_endpoint:<36}  {how:<12}  {'':<16}  {'':>7}  {_when(end.at)}")


@user_endpoints.command("stop")
@click.argument("name")
@click.argument("user_endpoint")
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=_GRACE_S,
    show_default=True,
    help="Seconds that running tasks may take to finish.",
)
@common
def stop_command(
    name: str, user_endpoint: str, grace: float, config_dir: Path | None, as_json: bool
) -> None:
    """Stop USER_ENDPOINT with all that it started; return when nothing of it is left.

    Tasks that wait for it stay in the hub, which asks for a new one at once if there are any.
    """
    endpoint = daemons.known(name, config_dir)
    wanted = _parsed(user_endpoint)
    did_run = _running(_listing(endpoint), wanted) is not None
    if did_run:
        who = pwd.getpwuid(os.getuid()).pw_name
        client = LauncherClient(endpoint.settings.socket)
        client.stop(wanted, grace_s=grace, why=f"user-endpoints stop, by {who}")
    if as_json:
        print_json({"user_endpoint": wanted, "state": "stopped", "was_running": did_run})
    else:
        click.echo(f"{wanted} is stopped." if did_run else f"{wanted} did not run.")


@user_endpoints.command("logs")
@click.argument("name")
@click.argument("user_endpoint")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, _MAX_LINES),
    default=100,
    show_default=True,
    help="How many lines of the end.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@common
def logs_command(
    name: str, user_endpoint: str, lines: int, follow: bool, config_dir: Path | None, as_json: bool
) -> None:
    """Print the end of the log of USER_ENDPOINT, which may have ended."""
    if follow and as_json:
        raise click.UsageError("--follow prints lines as they come, and --json one document.")
    endpoint = daemons.known(name, config_dir)
    wanted = _parsed(user_endpoint)
    uid = _uid_of(endpoint.settings.accounts_dir, wanted)
    path = endpoint.settings.accounts_dir / str(uid) / wanted / "endpoint.log"
    if follow:
        _follow_as(uid, path, lines)
        return
    text = _read_as(uid, path, lines)
    if as_json:
        document = {"user_endpoint": wanted, "path": str(path), "lines": text.splitlines()}
        print_json(document)
    else:
        click.echo(text, nl=False)


def without_controls(text: str) -> str:
    """Return `text` with every control character but the newline written out."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def _listing(endpoint: daemons.Known) -> Listing:
    try:
        return LauncherClient(endpoint.settings.socket).list()
    except LauncherUnreachableError:
        name = endpoint.layout.name
        raise CommandFailedError(
            f"The launcher of {name} does not answer: endpoint {name} does not run, or you may "
            f"not speak to it. Start it with: chamberlain-endpoint start {name}"
        ) from None


def _running(listing: Listing, wanted: str) -> Running | None:
    return next((one for one in listing.running if one.user_endpoint == wanted), None)


def _parsed(text: str) -> str:
    try:
        return parse_endpoint_id(text)
    except InvalidIdError as error:
        raise click.BadParameter(error.public, param_hint="USER_ENDPOINT") from None


def _uid_of(accounts_dir: Path, wanted: str) -> int:
    """Return whose `wanted` is. Only folders that the launcher made are looked at."""
    try:
        folders = [each for each in accounts_dir.iterdir() if each.name.isdecimal()]
    except OSError as error:
        raise CommandFailedError(f"{accounts_dir}: {error.strerror}") from None
    for folder in folders:
        if os.path.lexists(folder / wanted):
            return int(folder.name)
    raise CommandFailedError(f"There is no user endpoint {wanted} here, and there was none.")


def _read_as(uid: int, path: Path, lines: int) -> str:
    done = accounts.run_as(_account(uid), ["-m", _READER, str(path), str(lines)])
    if done.returncode != 0:
        raise _unreadable(path, done.stderr)
    return without_controls(done.stdout)


def _follow_as(uid: int, path: Path, lines: int) -> None:
    arguments = ["-m", _READER, str(path), str(lines), str(os.getpid())]
    with accounts.started_as(_account(uid), arguments) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        try:
            for line in reader.stdout:
                click.echo(without_controls(line), nl=False)
        except KeyboardInterrupt:
            return
        if reader.wait() != 0:
            raise _unreadable(path, reader.stderr.read())


def _account(uid: int) -> pwd.struct_passwd | None:
    try:
        return None if uid == os.geteuid() else pwd.getpwuid(uid)
    except KeyError:
        raise CommandFailedError(f"There is no account with uid {uid} any more.") from None


def _unreadable(path: Path, why: str) -> CommandFailedError:
    return CommandFailedError(f"{path} cannot be read: {without_controls(why.strip())[-500:]}")


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
