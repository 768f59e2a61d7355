"""`reset-breaker`: let user endpoints ask the scheduler for nodes again.

The record is a file of the account's. Root opens none of them: a child that became the account
removes it, and a user endpoint that runs sees that at its next task.
"""

from __future__ import annotations

import json
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from chamberlain_endpoint.cli import accounts, daemons
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.cli.user_endpoints import without_controls
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_endpoint_id

_CHILD: Final = "chamberlain_endpoint.cli.breaker_end"


@cli.command("reset-breaker")
@click.argument("name")
@click.option("--account", help="Only the user endpoints of this local account.")
@click.option("--user-endpoint", help="Only this one, by its id.")
@click.option("--look", is_flag=True, help="Show the breakers, and leave them as they are.")
@common
def reset_breaker_command(
    name: str,
    account: str | None,
    user_endpoint: str | None,
    look: bool,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Let user endpoints of NAME ask for nodes again, whose blocks had failed.

    A user endpoint whose blocks failed three times in a row submits no more jobs and fails its
    tasks at once, with the reason. A changed configuration gives it another chance by itself;
    this command does after a repair elsewhere, such as of a module or a partition.
    """
    endpoint = daemons.known(name, config_dir)
    wanted = None if user_endpoint is None else _parsed(user_endpoint)
    rows = []
    for uid, folders in _folders(endpoint.settings.accounts_dir, account, wanted).items():
        rows += [
            {"account": _name(uid), "user_endpoint": Path(folder).name, **one}
            for folder, one in _asked(uid, folders, look=look).items()
        ]
    if as_json:
        print_json({"name": name, "breakers": rows, "reset": not look})
        return
    if not rows:
        click.echo("No block of theirs has failed: there is nothing to reset.")
    for row in rows:
        at = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        what = row["state"] if look else "reset"
        failures = f"{row['failures']} failed, last at {at} UTC"
        click.echo(f"{row['user_endpoint']}  {row['account']}  {what}  ({failures})")
        click.echo(f"  {without_controls(row['reason'])}")


def _parsed(text: str) -> str:
    try:
        return parse_endpoint_id(text)
    except InvalidIdError as error:
        raise click.BadParameter(error.public, param_hint="--user-endpoint") from None


def _folders(accounts_dir: Path, account: str | None, wanted: str | None) -> dict[int, list[str]]:
    """Return uid -> folders of its user endpoints. Only what the launcher made is listed."""
    try:
        uid = None if account is None else pwd.getpwnam(account).pw_uid
    except KeyError:
        raise CommandFailedError(f"There is no account {account!r} on this host.") from None
    found: dict[int, list[str]] = {}
    try:
        for above in accounts_dir.iterdir():
            if above.name.isdecimal() and uid in (None, int(above.name)):
                inside = [each for each in sorted(above.iterdir()) if wanted in (None, each.name)]
                if inside:
                    found[int(above.name)] = [str(each) for each in inside]
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from None
    if wanted is not None and not found:
        raise CommandFailedError(f"There is no user endpoint {wanted} here, and there was none.")
    return found


def _asked(uid: int, folders: list[str], *, look: bool) -> dict[str, Any]:
    try:
        who = None if uid == os.geteuid() else pwd.getpwuid(uid)
    except KeyError:
        # An account that was removed has nobody who could be helped.
        return {}
    options = ["--look"] if look else []
    done = accounts.run_as(who, ["-m", _CHILD, *options, *folders])
    if done.returncode != 0:
        said = without_controls(done.stderr.strip())[-500:]
        raise CommandFailedError(f"The breakers of {_name(uid)} cannot be read: {said}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
