"""The processes of a site, by what they are, and who descends from whom."""

from __future__ import annotations

import os
import signal
from typing import Final

import psutil

from devtools.site import Site

KINDS: Final = {
    "launcher": "chamberlain_endpoint.launcher.main",
    "manager": "chamberlain_endpoint.manager.main",
    "keeper": "chamberlain_endpoint.launcher.runtime.child",
    "user endpoint": "chamberlain_endpoint.user.main",
    "process-pool worker": "chamberlain_endpoint.engine.child",
    "interchange": "HTEX interchange",
    "block": "tether.py",
    "pool": "--hb_threshold",
}
"""What stands in the command line of each."""


def supervisord(site: Site) -> psutil.Process:
    """Return the supervisord of the site's endpoint."""
    pid_file = site.config_dir / site.name / "run" / "supervisord.pid"
    return psutil.Process(int(pid_file.read_text()))


def family(site: Site) -> list[psutil.Process]:
    """Return supervisord and all that descends from it, eldest first."""
    eldest = supervisord(site)
    return [eldest, *eldest.children(recursive=True)]


def words(process: psutil.Process) -> str:
    """Return its command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def of_kind(site: Site, kind: str) -> psutil.Process:
    """Return the first process of `kind` below the site's supervisord."""
    if kind == "supervisord":
        return supervisord(site)
    if kind == "worker":
        # The last that the pool started, and that started nothing itself.
        return of_kind(site, "pool").children(recursive=True)[-1]
    return next(one for one in family(site) if KINDS[kind] in words(one))


def kill(process: psutil.Process) -> None:
    """End it as the kernel would when memory runs out."""
    os.kill(process.pid, signal.SIGKILL)


def of_account(uid: int) -> list[psutil.Process]:
    """Return all processes of this host that run as `uid`, but for zombies."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def orphans(site: Site, uid: int) -> list[str]:
    """Return the account's processes that no launcher of this site answers for."""
    answered: set[int] = set()
    for process in psutil.process_iter():
        line = words(process)
        if KINDS["launcher"] in line and str(site.folder) in line:
            answered |= {child.pid for child in process.children(recursive=True)}
    return [words(one) for one in of_account(uid) if one.pid not in answered]


def is_running(process: psutil.Process) -> bool:
    """Tell whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
