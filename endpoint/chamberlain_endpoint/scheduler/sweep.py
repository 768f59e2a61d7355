"""Removes the batch jobs of a user endpoint that is gone; its only argument is that one's id.

Started by the launcher, as the account and in the same runtime as the user endpoint was,
after an end that was not orderly. It reads nothing but the account's own notes and what the
scheduler's programs say to the account. Exit code 0: the scheduler has no job of it any more.
"""

from __future__ import annotations

import logging
import signal
import sys
from typing import Final

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.removal import remove
from chamberlain_wire import logs

LIMIT_S: Final = 20.0
"""How long it tries; the launcher ends it a little later."""

_LEFT: Final = 1


def main() -> int:
    """Remove all jobs of the user endpoint that the argument names; return the exit code."""
    user_endpoint = sys.argv[1]
    # Whoever is stopped waits for us; who is in a hurry kills.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logs.set_up(level=logging.WARNING)
    folder = job_notes.place(user_endpoint)
    notes = job_notes.read(folder)
    if not notes:
        return 0
    removed = remove(folder, user_endpoint, notes, within_s=LIMIT_S)
    sys.stderr.write(
        f"cancelled: {', '.join(removed.cancelled) or 'none'}; "
        f"left: {', '.join(removed.left) or 'none'}"
        f"{'; ' + removed.why if removed.why else ''}\n"
    )
    return 0 if removed.is_clean else _LEFT


if __name__ == "__main__":
    sys.exit(main())
