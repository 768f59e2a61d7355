"""Where an endpoint's files are, from its name and from who asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli.errors import CommandFailedError

SERVICE_ACCOUNT: Final = "chamberlain"
SYSTEM_CONFIG_DIR: Final = Path("/etc/chamberlain")

# The kernel's limit less what supervisord adds while it binds (a dot and its process id).
_MAX_SOCKET_BYTES: Final = 107 - 8
_LONGEST_IN_RUN: Final = "supervisord.sock"


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one endpoint.

    Attributes:
        multi: the multi-user form, which belongs to root; else one account's own.
        config: the five files, `launcher.toml` and the token.
        manager: the manager's records.
        launcher: the launcher's used ids and its audit log.
        accounts: one folder per account, one in it per user endpoint.
        run: sockets and process ids; gone after a boot.
        log: logs of supervisord, launcher and manager.
    """

    name: str
    multi: bool
    config: Path
    manager: Path
    launcher: Path
    accounts: Path
    run: Path
    log: Path

    @property
    def launcher_toml(self) -> Path:
        """The launcher's settings: what makes a folder an endpoint's."""
        return self.config / "launcher.toml"

    @property
    def manager_config(self) -> Path:
        """The manager's settings."""
        return self.config / "config.yaml"

    @property
    def token(self) -> Path:
        """The owner's token for the hub."""
        return self.config / "token"

    @property
    def launcher_socket(self) -> Path:
        """Where the manager speaks to the launcher."""
        return self.run / "launcher.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Where `stop` and `list` speak to supervisord."""
        return self.run / _LONGEST_IN_RUN

    @property
    def supervisor_config(self) -> Path:
        """Written anew by each start."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """The process id of supervisord."""
        return self.run / "supervisord.pid"


def default_config_dir() -> Path:
    """Return the folder that holds endpoints' folders: root's, or the caller's own."""
    return SYSTEM_CONFIG_DIR if os.geteuid() == 0 else Path.home() / ".chamberlain"


def plan(name: str, config_dir: Path | None, endpoint_id: str = "") -> Layout:
    """Return where the files of endpoint `name` are, or would be.

    Root's default is the system's folders. With another `config_dir`, and for other
    accounts, everything is below `config_dir/name`.

    Args:
        endpoint_id: only for a new endpoint, whose name may be too long for a socket.

    Raises:
        CommandFailedError: a socket's path would be longer than the kernel takes.
    """
    above = (config_dir or default_config_dir()).absolute()
    multi = os.geteuid() == 0
    if multi and above == SYSTEM_CONFIG_DIR:
        state, config = Path("/var/lib/chamberlain") / name, above / name
        log = Path("/var/log/chamberlain") / name
        run = _run_folder(Path("/run/chamberlain") / name, Path("/run/chamberlain"), endpoint_id)
    else:
        state = config = above / name
        log = config / "log"
        run = _run_folder(config / "run", above, endpoint_id)
    return Layout(
        name=name,
        multi=multi,
        config=config,
        manager=state / "manager",
        launcher=state / "launcher",
        accounts=state / "accounts",
        run=run,
        log=log,
    )


def _run_folder(wanted: Path, above: Path, endpoint_id: str) -> Path:
    short = above / f"run-{endpoint_id[:8]}"
    for folder in (wanted, short) if endpoint_id else (wanted,):
        if len(bytes(folder / _LONGEST_IN_RUN)) <= _MAX_SOCKET_BYTES:
            return folder
    if not endpoint_id:
        return wanted  # of an endpoint that exists; its settings have the real one
    raise CommandFailedError(
        f"{above} is too long a path: sockets below it would have more than "
        f"{_MAX_SOCKET_BYTES} bytes. Choose a shorter --config-dir."
    )
