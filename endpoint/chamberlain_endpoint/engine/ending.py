"""How a process ended, in words. Pure."""

from __future__ import annotations

import signal


def how_it_ended(code: int) -> str:
    """Return words for `code`, an exit code, or the negative number of a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
