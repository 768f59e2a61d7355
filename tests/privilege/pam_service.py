"""Service files of PAM for tests: each of a name of its own, taken away again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from chamberlain_endpoint.launcher.settings import PamSettings

FOLDER = Path("/etc/pam.d")
PERMIT = "account required pam_permit.so"
CREDENTIALS = "auth required pam_permit.so"
SESSION = "session required pam_permit.so"

SCRIPT = """#!/bin/sh
alive=0
for status in /proc/[0-9]*/status; do
    grep -qs "^Uid:.*[[:space:]]{uid}[[:space:]]" "$status" && alive=$((alive + 1))
done
echo "$PAM_TYPE $PAM_USER $PAM_SERVICE $PAM_TTY $alive" >> {log}
"""


@contextlib.contextmanager
def service(*lines: str, timeout_s: float = 20.0) -> Iterator[PamSettings]:
    """Write a service file with `lines`; yield the settings that use it."""
    number = len(list(FOLDER.glob(f"chtest-{os.getpid()}-*")))
    path = FOLDER / f"chtest-{os.getpid()}-{number}"
    path.write_text("\n".join((*lines, CREDENTIALS)) + "\n")
    path.chmod(0o644)
    try:
        yield PamSettings(enable=True, service=path.name, timeout_s=timeout_s)
    finally:
        path.unlink()


class Witness:
    """A program that PAM runs: it notes what for, and how many processes the account has."""

    def __init__(self, folder: Path, uid: int) -> None:
        self._log = folder / "witness.log"
        self._script = folder / "witness.sh"
        self._script.write_text(SCRIPT.format(uid=uid, log=self._log))
        self._script.chmod(0o755)

    @property
    def line(self) -> str:
        """The line of a service file that calls it."""
        return f"session required pam_exec.so {self._script}"

    def seen(self) -> list[list[str]]:
        """Return what it noted, oldest first: type, user, service, terminal, processes."""
        if not self._log.exists():
            return []
        return [line.split() for line in self._log.read_text().splitlines()]
