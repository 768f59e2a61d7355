"""Local accounts for the demo and the tests: made when absent, removed when we made them."""

from __future__ import annotations

import json
import pwd
import subprocess
from pathlib import Path

from devtools.say import CannotGoOnError


class AccountError(CannotGoOnError):
    """An account could not be made or removed; the message says why."""


class MadeAccounts:
    """Remembers in a file which accounts we made, so that nobody else's is ever removed.

    Args:
        memory: the file; it is written before an account is made, so that an interruption
            forgets none.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    @property
    def names(self) -> list[str]:
        """The accounts that we made, or were about to make."""
        try:
            return [str(name) for name in json.loads(self._memory.read_text())]
        except FileNotFoundError:
            return []

    def ensure(self, name: str, home: Path | None = None) -> pwd.struct_passwd:
        """Return the account `name`; make it when it is absent.

        Args:
            home: home of a new account of a person; None makes a system account without.

        Raises:
            AccountError: it could not be made.
        """
        if exists(name):
            return pwd.getpwnam(name)
        self.claim(name)
        kind = ["--system", "--no-create-home", "--home-dir=/nonexistent"]
        if home is not None:
            kind = ["--create-home", f"--home-dir={home}", "--skel=/dev/null"]
        _run("useradd", *kind, "--user-group", "--shell=/usr/sbin/nologin", name)
        return pwd.getpwnam(name)

    def claim(self, name: str) -> None:
        """Remember that the account `name` is ours to remove, or will be in a moment."""
        if name not in self.names:
            self._memory.write_text(json.dumps([*self.names, name]))

    def remove_all(self) -> list[str]:
        """Remove every account that we made; return their names.

        Raises:
            AccountError: one could not be removed; the rest stays remembered.
        """
        removed = []
        for name in self.names:
            if exists(name):
                _run("userdel", name)
                removed.append(name)
            self._memory.write_text(json.dumps([one for one in self.names if one != name]))
        return removed


def exists(name: str) -> bool:
    """Tell whether the machine has an account `name`."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [f"/usr/sbin/{program}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AccountError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
