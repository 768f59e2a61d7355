"""`trust`: which keys of the hub an endpoint believes, exchanged while it runs."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from chamberlain_endpoint.cli import daemons, hub
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.launcher import config as launcher_config
from chamberlain_endpoint.launcher.config import ConfigRefusedError

_LINE: Final = re.compile(r"^hub_keys *= *\[[^\]]*\][^\n]*$", re.MULTILINE)


@cli.command("trust")
@click.argument("name")
@click.option(
    "--hub-key-file",
    type=click.File(errors="replace"),
    required=True,
    help="What chamberlain-hub key show says: one key a line; - is standard input.",
)
@common
def trust_command(name: str, hub_key_file: Any, config_dir: Path | None, as_json: bool) -> None:
    """Have endpoint NAME believe these keys of the hub, and no others, from now on.

    The launcher takes them with its next request, and a manager that runs registers again;
    user endpoints and their tasks go on.
    """
    endpoint = daemons.known(name, config_dir)
    keys = hub.keys_in(hub_key_file.read())
    try:
        changed = _write(endpoint.layout.launcher_toml, keys)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    told = daemons.reload_manager(endpoint)
    shown = [hub.fingerprint(key) for key in keys]
    if as_json:
        print_json({"name": name, "hub_keys": keys, "changed": changed, "manager_told": told})
    else:
        click.echo(f"{name} believes " + " and ".join(shown) + " from now on.")


def _write(file: Path, keys: list[str]) -> bool:
    """Replace the line of the keys in launcher.toml, in one step; tell whether it was another."""
    old = file.read_text()
    line = f"hub_keys = {json.dumps(keys)}"
    if len(_LINE.findall(old)) != 1:
        raise CommandFailedError(f"{file}: there is no line with hub_keys. Write one: {line}")
    new = _LINE.sub(line, old)
    if new == old:
        return False
    try:
        launcher_config.parse(new.encode())
    except ConfigRefusedError as error:
        raise CommandFailedError(f"{file}: " + "; ".join(error.faults)) from None
    seen = file.stat()
    number, aside = tempfile.mkstemp(dir=file.parent, prefix=".launcher-")
    try:
        with os.fdopen(number, "w") as out:
            out.write(new)
            out.flush()
            os.fchown(out.fileno(), seen.st_uid, seen.st_gid)
            os.fchmod(out.fileno(), stat.S_IMODE(seen.st_mode))
            os.fsync(out.fileno())
        Path(aside).replace(file)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    return True
