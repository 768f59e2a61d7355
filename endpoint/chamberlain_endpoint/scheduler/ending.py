"""How a process ended, in words. Pure."""

from __future__ import annotations

import signal


def how_it_ended(code: int) -> str:
    """Return words for `code`: an exit code, or a signal as Python or as a shell tells it."""
    if 0 <= code <= 128:
        return f"ended with exit code {code}"
    number = -code if code < 0 else code - 128
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with exit code {code}"
