"""`start`, `stop` and `list`: what runs of an endpoint."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli import boot_service, layout, processes, supervisord
from chamberlain_endpoint.cli.configure import judge, make_folders
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.layout import Layout
from chamberlain_endpoint.launcher import config as launcher_config
from chamberlain_endpoint.launcher.settings import LauncherSettings

_START_S: Final = 60.0
_STOP_S: Final = 150.0
_POLL_S: Final = 0.1
_TAIL_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class Known:
    """An endpoint that was configured: its folders and its launcher's settings."""

    layout: Layout
    settings: LauncherSettings


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint, as `list` shows it.

    Attributes:
        state: running, starting, failing, stopped, or unreadable.
        user_endpoints: how many run.
    """

    name: str
    endpoint_id: str
    state: str
    user_endpoints: int


def known(name: str, config_dir: Path | None) -> Known:
    """Return the endpoint `name`.

    Raises:
        CommandFailedError: there is none, or its launcher.toml has faults.
    """
    where = layout.plan(name, config_dir)
    try:
        present = where.launcher_toml.exists()
    except PermissionError:
        present = False
    if not present:
        raise CommandFailedError(
            f"There is no endpoint {name!r} in {where.config.parent}. "
            f"Make it with: chamberlain-endpoint configure {name}"
        )
    settings = _settings(where)
    return Known(replace(where, run=settings.socket.parent), settings)


def start(endpoint: Known) -> None:
    """Become supervisord, in the foreground; does not return.

    Raises:
        CommandFailedError: it runs already, or its configuration cannot be written.
    """
    command = _prepare(endpoint)
    os.execv(command[0], [*command, "--nodaemon"])  # noqa: S606 - no shell is wanted


def start_detached(endpoint: Known) -> int:
    """Start supervisord in the background; return its process id once both programs run.

    Raises:
        CommandFailedError: it runs already, or a program does not stay up. Then everything
            was stopped again.
    """
    command = _prepare(endpoint)
    process = subprocess.Popen(
        [*command, "--nodaemon", "--silent"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    try:
        _wait_up(endpoint, process)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.pid


def reload_manager(endpoint: Known) -> bool:
    """Have the manager begin afresh and register again; return whether one runs."""
    found = _managers_of(endpoint)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
    return bool(found)


def stop(endpoint: Known) -> bool:
    """Stop everything of the endpoint and wait until nothing is left of it.

    Returns:
        False when nothing ran.

    Raises:
        CommandFailedError: something is left; the sentence names the processes.
    """
    where = endpoint.layout
    pid = _supervisor_pid(where)
    service = boot_service.active(where)
    if service is not None:
        service.stop()
        pid = _supervisor_pid(where)
    elif pid is None and not _processes_of(endpoint):
        return False
    if not supervisord.shut_down(where):
        # It does not answer on its socket, but may hear a signal; or it was killed, and what
        # it ran goes on without it.
        for one in {pid} if pid is not None else _daemons_of(endpoint):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGTERM)
    if not _within(_STOP_S, lambda: not _left(endpoint, pid)):
        left = ", ".join(str(one) for one in sorted(_left(endpoint, pid)))
        raise CommandFailedError(
            f"Still there after {_STOP_S:.0f} s: process {left}. See {where.log}."
        )
    return True


def restart_by_systemd(endpoint: Known) -> bool:
    """Have systemd restart launcher and manager if it runs them; return whether it did.

    Raises:
        CommandFailedError: systemd could not, it does not come up, or it would not; in the
            last case it goes on as it is.
    """
    where = endpoint.layout
    service = boot_service.active(where)
    if service is None:
        return False
    if endpoint.settings.needs_open_unit and service.is_closed():
        raise CommandFailedError(
            f"{where.name} goes on as it is: its unit {service.upper} is closed for all but "
            f"containers. Run first: chamberlain-endpoint enable-on-boot {where.name}"
        )
    stop(endpoint)
    service.start()
    if not _within(_START_S, lambda: _listens(endpoint)):
        raise CommandFailedError(
            f"The launcher did not answer within {_START_S:.0f} s.{_tail(endpoint, 'launcher')}"
        )
    return True


def runs(endpoint: Known) -> bool:
    """Tell whether its daemons run, whoever started them."""
    return supervisord.programs(endpoint.layout) is not None or bool(_daemons_of(endpoint))


def programs(endpoint: Known) -> list[supervisord.Program] | None:
    """Return launcher and manager and their states; None: nothing of them runs."""
    seen = supervisord.programs(endpoint.layout)
    if seen is not None:
        return seen
    found = {"launcher": _launchers_of(endpoint), "manager": _managers_of(endpoint)}
    if not any(found.values()):
        return None
    return [
        supervisord.Program(name, "RUNNING" if pids else "STOPPED", min(pids, default=0))
        for name, pids in found.items()
    ]


def rows(config_dir: Path | None) -> list[Row]:
    """Return every endpoint below `config_dir`, by name."""
    above = (config_dir or layout.default_config_dir()).absolute()
    if not above.is_dir():
        return []
    names = sorted(path.name for path in above.iterdir() if (path / "launcher.toml").exists())
    return [_row(name, config_dir) for name in names]


def _row(name: str, config_dir: Path | None) -> Row:
    try:
        endpoint = known(name, config_dir)
    except CommandFailedError:
        return Row(name, "", "unreadable", 0)
    running = programs(endpoint)
    return Row(
        name=name,
        endpoint_id=endpoint.settings.endpoint_id,
        state="stopped" if running is None else _word(running),
        user_endpoints=len(processes.user_endpoints(endpoint.settings.accounts_dir)),
    )


def _word(running: list[supervisord.Program]) -> str:
    states = {program.state for program in running}
    if states == {"RUNNING"}:
        return "running"
    return "failing" if states & {"BACKOFF", "FATAL", "EXITED"} else "starting"


def _settings(where: Layout) -> LauncherSettings:
    owners = frozenset({0, os.geteuid()})
    if faults := launcher_config.check(where.launcher_toml, owners):
        raise CommandFailedError(f"{where.launcher_toml}: " + "; ".join(faults))
    return launcher_config.load(where.launcher_toml, owners)


def _prepare(endpoint: Known) -> list[str]:
    """Write supervisord's configuration; return its command."""
    where, user = endpoint.layout, endpoint.settings.manager_user
    if supervisord.programs(where) is not None or _daemons_of(endpoint):
        raise CommandFailedError(
            f"{where.name} runs already. Stop it with: chamberlain-endpoint stop {where.name}"
        )
    try:
        account = pwd.getpwnam(user) if where.multi else None
    except KeyError:
        raise CommandFailedError(
            f"{where.launcher_toml} names the account {user!r}, which does not exist."
        ) from None
    try:
        # Sockets' folders are gone after a boot.
        make_folders(where, account)
        judge(where, account)
        text = supervisord.config_text(where, user if where.multi else "")
        where.supervisor_config.write_text(text)
        where.supervisor_config.chmod(0o600)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    return [
        sys.executable,
        "-I",
        "-m",
        "supervisor.supervisord",
        "--configuration",
        str(where.supervisor_config),
    ]


def _wait_up(endpoint: Known, process: subprocess.Popen[bytes]) -> None:
    seen: list[supervisord.Program] = []

    def settled() -> bool:
        nonlocal seen
        if process.poll() is not None:
            return True
        seen = supervisord.programs(endpoint.layout) or []
        word = _word(seen) if seen else "starting"
        # For supervisord a program runs when it lived for a second. On a busy host that is
        # no sign that it serves.
        return word == "failing" or (word == "running" and _listens(endpoint))

    in_time = _within(_START_S, settled)
    if process.poll() is not None:
        raise CommandFailedError(f"supervisord ended at once.{_tail(endpoint, 'supervisord')}")
    for program in seen:
        if program.state != "RUNNING":
            raise CommandFailedError(
                f"The {program.name} does not stay up.{_tail(endpoint, program.name)}"
            )
    if not in_time:
        raise CommandFailedError(
            f"The launcher did not answer within {_START_S:.0f} s.{_tail(endpoint, 'launcher')}"
        )


def _listens(endpoint: Known) -> bool:
    with socket.socket(socket.AF_UNIX) as knock:
        try:
            knock.connect(os.fspath(endpoint.layout.launcher_socket))
        except OSError:
            return False
    return True


def _tail(endpoint: Known, name: str) -> str:
    path = endpoint.layout.log / f"{name}.log"
    try:
        lines = path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return f" {path} could not be read."
    return "\n".join([f" The end of {path}:", *lines])


def _left(endpoint: Known, supervisor: int | None) -> set[int]:
    pids = _processes_of(endpoint)
    if supervisor is not None and processes.lives(supervisor):
        pids.add(supervisor)
    return pids


def _processes_of(endpoint: Known) -> set[int]:
    below = processes.standing_below(endpoint.settings.accounts_dir)
    return _daemons_of(endpoint) | {pid for pid, _ in below}


def _daemons_of(endpoint: Known) -> set[int]:
    return _launchers_of(endpoint) | _managers_of(endpoint)


def _launchers_of(endpoint: Known) -> set[int]:
    file = str(endpoint.layout.launcher_toml)
    return processes.with_words("chamberlain_endpoint.launcher.main", file)


def _managers_of(endpoint: Known) -> set[int]:
    file = str(endpoint.layout.manager_config)
    return processes.with_words("chamberlain_endpoint.manager.main", file)


def _supervisor_pid(where: Layout) -> int | None:
    try:
        pid = int(where.supervisor_pid.read_text())
    except (OSError, ValueError):
        return None
    # The number may belong to another program by now.
    return pid if pid in processes.with_words(str(where.supervisor_config)) else None


def _within(limit_s: float, done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
