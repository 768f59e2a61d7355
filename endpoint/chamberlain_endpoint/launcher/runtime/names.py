"""The account database that a container sees: its own account, and those it must know."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

from chamberlain_endpoint.launcher.protocol import Account

_NO_SHELL = "/usr/sbin/nologin"


def write(folder: Path, account: Account, known: tuple[str, ...]) -> Path:
    """Write `passwd` and `group` for `account` into a folder below `folder`; return that.

    Args:
        known: accounts of the host that are named, too, with their numbers and no more.

    Raises:
        OSError: the folder cannot be written.
    """
    own = folder / str(account.uid)
    own.mkdir(mode=0o711, exist_ok=True)
    users = {account.uname: _user(account.uname, account.uid, account.gid, account)}
    groups = {group.name: f"{group.name}:x:{group.gid}:" for group in account.groups}
    for name in known:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        users.setdefault(name, _user(name, entry.pw_uid, entry.pw_gid, None))
        try:
            group = grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
        groups.setdefault(group, f"{group}:x:{entry.pw_gid}:")
    _replace(own / "passwd", users)
    _replace(own / "group", groups)
    return own


def _user(name: str, uid: int, gid: int, account: Account | None) -> str:
    if account is None:
        return f"{name}:x:{uid}:{gid}::/nonexistent:{_NO_SHELL}"
    return f"{name}:x:{uid}:{gid}:{account.gecos}:{account.dir}:{account.shell}"


def _replace(path: Path, rows: dict[str, str]) -> None:
    text = "\n".join(rows.values()) + "\n"
    if path.exists() and path.read_text() == text:
        # The engine mounted this very file into others: a new one would leave them behind.
        return
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)
