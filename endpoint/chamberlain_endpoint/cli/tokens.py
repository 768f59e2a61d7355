"""The endpoint's hub token on this host: read, replaced whole, taken away."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chamberlain_endpoint.cli import hub
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager import hub_client
from chamberlain_endpoint.manager.fatal import FatalError


@dataclass(frozen=True, slots=True)
class Link:
    """What is needed to ask the hub something as the endpoint.

    Attributes:
        account: whom the asking child runs as; None: the caller's own account.
    """

    url: str
    token_file: Path
    account: pwd.struct_passwd | None

    def token(self) -> str:
        """Return the token.

        Raises:
            CommandFailedError: there is none, or it may not be read.
        """
        try:
            return hub_client.read_token(self.token_file).reveal()
        except FatalError as error:
            raise CommandFailedError(
                f"{str(error).rstrip('.')}. Give one with: chamberlain-endpoint login"
            ) from None


def link(endpoint: Known) -> Link:
    """Return the link of `endpoint` to its hub.

    Raises:
        CommandFailedError: its config.yaml has faults, or its service account is missing.
    """
    try:
        settings = manager_config.check(endpoint.layout.manager_config)
    except manager_config.SettingsError as error:
        raise CommandFailedError(str(error)) from None
    account = None
    if endpoint.layout.multi:
        try:
            account = pwd.getpwnam(endpoint.settings.manager_user)
        except KeyError:
            raise CommandFailedError(
                f"The account {endpoint.settings.manager_user!r} does not exist."
            ) from None
    return Link(settings.hub_address, settings.token_path, account)


def log_in(endpoint: Known, token: str) -> dict[str, Any]:
    """Put `token` in the place of the endpoint's, once the hub has accepted it.

    Returns:
        what the hub says of its owner.

    Raises:
        CommandFailedError: the hub does not accept it; the old one stays.
    """
    to_hub = link(endpoint)
    who = hub.person(to_hub.url, token, to_hub.account)
    try:
        _replace(to_hub.token_file, token, to_hub.account)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    return who


def log_out(endpoint: Known) -> bool:
    """Remove the token from this host; return whether there was one.

    Raises:
        CommandFailedError: it could not be removed.
    """
    try:
        link(endpoint).token_file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    return True


def forget(endpoint: Known) -> bool:
    """Have the hub forget the endpoint; return whether it knew it.

    Raises:
        CommandFailedError: it was not asked, or says no.
    """
    to_hub = link(endpoint)
    return hub.delete_endpoint(
        to_hub.url, to_hub.token(), endpoint.settings.endpoint_id, to_hub.account
    )


def lock(endpoint: Known) -> str:
    """Have the hub cut the endpoint off; return until when it may not register again.

    Raises:
        CommandFailedError: it was not asked, or says no.
    """
    to_hub = link(endpoint)
    return hub.lock_endpoint(
        to_hub.url, to_hub.token(), endpoint.settings.endpoint_id, to_hub.account
    )


def _replace(file: Path, token: str, account: pwd.struct_passwd | None) -> None:
    """Write beside, then rename: at no time is there half a token, or one that others read."""
    number, name = tempfile.mkstemp(dir=file.parent, prefix=".token-")
    new = Path(name)
    try:
        with os.fdopen(number, "w") as out:
            out.write(token + "\n")
            out.flush()
            if account is not None:
                os.fchown(out.fileno(), -1, account.pw_gid)
                os.fchmod(out.fileno(), 0o640)
            os.fsync(out.fileno())
        new.replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        raise
