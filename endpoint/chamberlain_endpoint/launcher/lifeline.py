"""Launcher and manager do not outlive the supervisord that started them.

One that was killed could not stop them, and the next one could not start them beside what the
old ones hold: so the kernel tells them, as supervisord would have, with SIGTERM.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from chamberlain_endpoint.launcher import privileges


def end_with_supervisor(environment: Mapping[str, str] = os.environ) -> None:
    """Have SIGTERM sent to this process when supervisord ends; none, if that did not start it.

    Call it after every change of uid, with a handler for SIGTERM or none in place.
    """
    if "SUPERVISOR_ENABLED" not in environment:
        return
    parent = os.getppid()
    privileges.end_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        # It ended a moment ago, and nobody will tell us any more.
        os.kill(os.getpid(), signal.SIGTERM)
