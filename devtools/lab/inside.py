"""Commands inside a host of a lab, as the machine's root would run them there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Final

from devtools.lab import cgroups
from devtools.lab.state import Facts, Running
from devtools.say import CannotGoOnError

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT_S: Final = 120.0
_SPARE_S: Final = 30.0
_KILLED: Final = (-9, 137)


class HostDownError(CannotGoOnError):
    """The host does not run."""


class InsideError(CannotGoOnError):
    """A command in a host failed; the message holds what it said."""


def command(
    host: Running,
    words: Sequence[str],
    *,
    user: str = "root",
) -> list[str]:
    """Return the command for this machine that runs `words` in `host`.

    Args:
        user: account of the host that runs it, as after a login.

    Raises:
        HostDownError: it does not run, or has not begun to boot.
    """
    leader = host.leader
    if leader is None:
        raise HostDownError(f"The host {host.name} does not run.")
    spaces = ["-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "--wdns=/"]
    inner = ["nsenter", *spaces, "--", *as_account(words, user)]
    return cgroups.entering(host.cgroups, inner)


def as_account(words: Sequence[str], user: str) -> list[str]:
    """Return the command for a host's root that runs `words` as `user`, as after a login."""
    given = {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": "/root" if user == "root" else f"/home/{user}",
        "USER": user,
        "LOGNAME": user,
    }
    become = [] if user == "root" else ["runuser", "-u", user, "--"]
    return ["env", "-i", *(f"{key}={value}" for key, value in given.items()), *become, *words]


def run(
    host: Running,
    words: Sequence[str],
    *,
    user: str = "root",
    given: str = "",
    limit_s: float = LIMIT_S,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run `words` in `host`; return how it ended.

    Args:
        given: its standard input.
        limit_s: it is killed after so many seconds.

    Raises:
        HostDownError: the host does not run.
        InsideError: it took too long, or ended badly and `check` is set.
    """
    shown = f"{host.name}: {' '.join(words)[:200]}"
    # In the host, too: the end of nsenter would leave there what it started.
    limited = ["timeout", "--signal=KILL", f"{limit_s:g}", *words]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command(host, limited, user=user),
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s + _SPARE_S,
            check=False,
        )
        too_late = done.returncode in _KILLED and time.monotonic() - started >= limit_s
    except subprocess.TimeoutExpired:
        too_late = True
    if too_late:
        raise InsideError(f"{shown}: not done within {limit_s:g} s")
    if check and done.returncode != 0:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise InsideError(f"{shown} ended with {done.returncode}:\n{said}")
    return done


def outside(facts: Facts, words: Sequence[str]) -> list[str]:
    """Return the command that runs `words` of this machine on the lab's network."""
    return ["nsenter", "-t", str(facts.supervisor), "-n", "--", *words]
