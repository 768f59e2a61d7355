"""The configuration of supervisord, and what it says through its socket.

supervisord is asked over its Unix socket only; there is no network listener. The launcher
gets no group signals: user endpoints have sessions of their own, and ending them is the
launcher's work. The manager's group may be ended whole: it holds short-lived rendering
children and nothing else.
"""

from __future__ import annotations

import shlex
import sys
import xmlrpc.client
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from supervisor.xmlrpc import Faults, SupervisorTransport

from chamberlain_endpoint.cli.layout import Layout

PROGRAMS: Final = ("launcher", "manager")

_STOP_WAIT_S: Final = 60
"""Longer than the launcher's own grace, so that it is never killed while it ends others."""


@dataclass(frozen=True, slots=True)
class Program:
    """What supervisord knows of one program.

    Attributes:
        state: a word of supervisord's, such as RUNNING, STARTING, BACKOFF, FATAL, STOPPED.
        pid: 0 when it does not run.
    """

    name: str
    state: str
    pid: int


def config_text(layout: Layout, manager_user: str) -> str:
    """Return the `supervisord.conf` of an endpoint.

    Args:
        manager_user: account of the manager; empty: the caller's own (single-account form).
    """
    user = f"user={manager_user}\n" if manager_user else ""
    me = f'USER="{manager_user}",LOGNAME="{manager_user}",' if manager_user else ""
    return (
        "; Written by `chamberlain-endpoint start`; changes are lost.\n"
        "[supervisord]\n"
        f"logfile={_escaped(layout.log / 'supervisord.log')}\n"
        "logfile_maxbytes=20MB\n"
        "logfile_backups=5\n"
        f"pidfile={_escaped(layout.supervisor_pid)}\n"
        f"directory=/\n"
        "umask=022\n" + ("user=root\n" if layout.multi else "") + "\n[unix_http_server]\n"
        f"file={_escaped(layout.supervisor_socket)}\n"
        "chmod=0700\n"
        "\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "\n[supervisorctl]\n"
        f"serverurl=unix://{_escaped(layout.supervisor_socket)}\n"
        "\n[program:launcher]\n"
        f"command={_command('launcher', '--config', layout.launcher_toml)}\n"
        "priority=10\n"
        "stopasgroup=false\n"
        "killasgroup=false\n" + _common(layout, "launcher") + "\n[program:manager]\n"
        f"command={_command('manager', '--config-file', layout.manager_config)}\n"
        "priority=20\n"
        f"{user}"
        f'environment={me}HOME="{_escaped(layout.manager)}"\n'
        "stopasgroup=false\n"
        "killasgroup=true\n" + _common(layout, "manager")
    )


def programs(layout: Layout) -> list[Program] | None:
    """Return the programs and their states, or None when supervisord does not answer."""
    try:
        with closing(_proxy(layout.supervisor_socket)) as proxy:
            seen: Any = proxy.server.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error):
        return None
    return [
        Program(name=str(one["name"]), state=str(one["statename"]), pid=int(one["pid"]))
        for one in seen
    ]


def switch(layout: Layout, name: str, *, on: bool) -> bool:
    """Start or stop one program and wait for it; return whether supervisord did so.

    One that is so already is no fault.
    """
    try:
        with closing(_proxy(layout.supervisor_socket)) as proxy:
            ask: Any = proxy.server.supervisor
            ask.startProcess(name) if on else ask.stopProcess(name)
    except xmlrpc.client.Fault as fault:
        return bool(fault.faultCode == (Faults.ALREADY_STARTED if on else Faults.NOT_RUNNING))
    except (OSError, xmlrpc.client.Error):
        return False
    return True


def shut_down(layout: Layout) -> bool:
    """Ask supervisord to stop its programs and end; return whether it heard."""
    try:
        with closing(_proxy(layout.supervisor_socket)) as proxy:
            proxy.server.supervisor.shutdown()
    except (OSError, xmlrpc.client.Error):
        return False
    return True


class _proxy:  # noqa: N801 - reads as a function: it opens and is closed
    def __init__(self, socket: Path) -> None:
        self._transport = SupervisorTransport(None, None, f"unix://{socket}")
        self.server = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport)

    def close(self) -> None:
        self._transport.close()


def _command(part: str, option: str, config: Path) -> str:
    words = [sys.executable, "-I", "-m", f"chamberlain_endpoint.{part}.main", option, str(config)]
    return shlex.join(words).replace("%", "%%")


def _common(layout: Layout, name: str) -> str:
    return (
        "directory=/\n"
        "autostart=true\n"
        "autorestart=true\n"
        "startsecs=1\n"
        # Never give up: supervisord waits one second longer after each failure.
        "startretries=1000000\n"
        f"stopwaitsecs={_STOP_WAIT_S}\n"
        "redirect_stderr=true\n"
        f"stdout_logfile={_escaped(layout.log / name)}.log\n"
        "stdout_logfile_maxbytes=20MB\n"
        "stdout_logfile_backups=5\n"
    )


def _escaped(path: Path) -> str:
    # supervisord expands %(...)s and %(ENV_...)s in every value.
    return str(path).replace("%", "%%")
