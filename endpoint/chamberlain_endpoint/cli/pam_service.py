"""The service file of PAM that this package brings: shown, and installed once."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli
from chamberlain_endpoint.launcher.settings import PAM_SERVICE
from chamberlain_endpoint.manager.config import PamSettings

PATH: Final = Path("/etc/pam.d") / PAM_SERVICE


@cli.command("pam-service")
@click.option("--install", is_flag=True, help=f"Write it to {PATH}, unless that exists. As root.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pam_service_command(install: bool, as_json: bool) -> None:
    """Print the PAM service file for user endpoints, or install it.

    What stands there already is the site's and is never overwritten; no command removes it.
    """
    if not install:
        click.echo(json.dumps({"path": str(PATH), "text": text()}) if as_json else text(), nl=False)
        return
    made = ensure()
    said = f"Wrote {PATH}." if made else f"{PATH} exists; it was left as it is."
    click.echo(json.dumps({"path": str(PATH), "written": made}) if as_json else said)


def text() -> str:
    """Return what the file says."""
    return (resources.files(__package__) / "defaults" / "chamberlain-endpoint.pam").read_text()


def ensure(path: Path = PATH) -> bool:
    """Write the file if there is none; return whether it was written.

    Raises:
        CommandFailedError: it cannot be written.
    """
    try:
        # In one step, with its mode from its first byte on: PAM may read it at any moment.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise CommandFailedError(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(fd, "w") as file:
        file.write(text())
        os.fchmod(file.fileno(), 0o644)
    return True


def wished(more: dict[str, Any], *, flag: bool) -> PamSettings:
    """Return what config.yaml's `pam` and the option `--pam` ask for; mend `more` to say so.

    Raises:
        CommandFailedError: `pam` has a wrong shape.
    """
    if flag:
        named = more.get("pam")
        service = named.get("service_name") if isinstance(named, dict) else None
        more["pam"] = {"enable": True, "service_name": service or PAM_SERVICE}
    if more.get("pam") is None:
        return PamSettings(enable=False, service_name=PAM_SERVICE)
    try:
        return PamSettings.model_validate(more["pam"])
    except ValidationError as error:
        faults = (": ".join((*map(str, fault["loc"]), fault["msg"])) for fault in error.errors())
        why = "; ".join(faults)
        raise CommandFailedError(f"pam in config.yaml: {why}") from None
