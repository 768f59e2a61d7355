"""Ends the workers of one node when nobody is left who could use them.

Parsl's pool gives up by itself when its interchange is silent, as a rule: it has places where it
waits without a limit, and workers that do not let go. So it hears beats of the user endpoint
as well (`recall`), and when they stop it is ended from beside, with all that it started. The
batch job ends with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

import psutil

log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
"""How often the user endpoint tells all pools that it is there."""

EXIT_ALONE: Final = 69
"""Exit code of a pool whose user endpoint went silent."""

_LEAST_S: Final = 30.0
_SPARE_S: Final = 15.0


def lease_s(heartbeat_threshold_s: float) -> float:
    """Return after what silence a pool is ended: later than Parsl would, and below a minute.

    A site that asks for more patience with its network gets it.
    """
    return max(_LEAST_S, heartbeat_threshold_s + _SPARE_S)


def end_pool(silent_s: float) -> None:
    """Kill all that this process started, and end it. Never returns."""
    log.critical(
        "the user endpoint is gone", extra={"event": "pool.alone", "took_ms": silent_s * 1000}
    )
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    os._exit(EXIT_ALONE)
