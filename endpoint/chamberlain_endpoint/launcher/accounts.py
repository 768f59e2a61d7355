"""Asks the name service about local accounts.

A name service can be a directory server that is down: these calls may block for long. They
run where a limit of time holds (see `decision`). An account whose shell is `nologin` is as
good as any: a user endpoint gives nobody a shell.
"""

from __future__ import annotations

import grp
import os
import pwd

from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class NoSuchAccountError(ChamberlainError):
    """There is no local account of that name."""

    code = ErrorCode.IDENTITY_NOT_MAPPED


def look_up(user_name: str) -> Account:
    """Return the account `user_name` with all its groups.

    Raises:
        NoSuchAccountError: there is none.
    """
    try:
        entry = pwd.getpwnam(user_name)
    except (KeyError, ValueError):
        raise NoSuchAccountError(f"{user_name!r} is no account of this host") from None
    gids = {entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
    return Account(
        uname=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(Group(gid=gid, name=_group_name(gid)) for gid in sorted(gids)),
        gecos=entry.pw_gecos,
        shell=entry.pw_shell,
        dir=entry.pw_dir,
    )


def own_name() -> str:
    """Return the name of the account that this process runs as.

    Raises:
        NoSuchAccountError: it has none.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NoSuchAccountError(f"uid {os.geteuid()} has no name on this host") from None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
