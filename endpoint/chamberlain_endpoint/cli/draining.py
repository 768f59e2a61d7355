"""`drain` and `resume`: an endpoint that takes nothing new, and finishes what it has.

Without its manager nobody starts a user endpoint, and the hub keeps the tasks and asks again when
the manager is back. Each user endpoint is told to take no more tasks, to finish those that run,
and to leave; what it had taken and not begun goes back to its queue.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from typing import Final

from chamberlain_endpoint.cli import daemons, packaged, supervisord
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.launcher.client import LauncherClient, LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import Running

_MANAGER: Final = "manager"
_POLL_S: Final = 0.5


def drain(
    endpoint: Known, *, grace_s: float, wait_s: float, tell: Callable[[list[Running]], None]
) -> list[Running]:
    """Stop the manager, then have every user endpoint finish; return those that still run.

    Args:
        grace_s: how long running tasks may take; what runs longer is ended and told.
        wait_s: how long to wait for that here. A second call goes on waiting.
        tell: called with those that still run, first and whenever their number changes.

    Raises:
        CommandFailedError: the endpoint does not run, or somebody else runs its manager.
    """
    _switch(endpoint, on=False)
    client = LauncherClient(endpoint.settings.socket)
    why = f"drain, by {pwd.getpwuid(os.getuid()).pw_name}"
    deadline = time.monotonic() + wait_s
    asked: set[str] = set()
    told = -1
    while left := _running(client):
        for one in left:
            if one.user_endpoint not in asked:
                asked.add(one.user_endpoint)
                client.ask_to_stop(one.user_endpoint, grace_s=grace_s, why=why)
        if len(left) != told:
            told = len(left)
            tell(left)
        if time.monotonic() >= deadline:
            return left
        time.sleep(_POLL_S)
    return []


def resume(endpoint: Known) -> None:
    """Start the manager of an endpoint that was drained; one that runs is no fault.

    Raises:
        CommandFailedError: the endpoint does not run, or its manager does not start.
    """
    _switch(endpoint, on=True)


def _switch(endpoint: Known, *, on: bool) -> None:
    name = endpoint.layout.name
    unit = packaged.unit_of(endpoint.layout)
    if packaged.is_active(packaged.launcher_of(unit)):
        packaged.systemctl("start" if on else "stop", unit)
        return
    if supervisord.switch(endpoint.layout, _MANAGER, on=on):
        return
    if supervisord.programs(endpoint.layout) is not None:
        word = "start" if on else "stop"
        raise CommandFailedError(
            f"The manager of {name} does not {word}. See {endpoint.layout.log}."
        )
    if daemons.runs(endpoint):
        raise CommandFailedError(
            f"Neither systemd nor supervisord runs {name}, so nobody would start its manager again."
        )
    raise CommandFailedError(
        f"{name} does not run. Start it with: chamberlain-endpoint start {name}"
    )


def _running(client: LauncherClient) -> list[Running]:
    try:
        return list(client.list().running)
    except LauncherUnreachableError as error:
        raise CommandFailedError(f"The launcher does not answer: {error}") from None
