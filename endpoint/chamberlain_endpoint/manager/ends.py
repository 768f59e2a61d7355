"""How a user endpoint ended, as a word and a sentence for its owner. Pure.

The tail was written by the user's own process: it may be anything, and goes to nobody but
that user.
"""

from __future__ import annotations

import json
import signal
from typing import Final

from chamberlain_endpoint.launcher.protocol import Ended
from chamberlain_wire.errors import ErrorCode

_MESSAGE_CHARS: Final = 2000
_LINE_CHARS: Final = 300
_WHY: Final = "ended: "


def explain_end(ended: Ended) -> tuple[str, str]:
    """Return (code, sentence): of the fatal line where there is one, else of what is known.

    Both are empty for one that left on purpose.
    """
    if ended.exit_code == 0:
        return "", ""
    lines = [line.strip() for line in ended.tail.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return _fatal(last) or (ErrorCode.START_FAILED, _sentence(ended, last))


def unknown_end(user_endpoint: str, command: str, at: float) -> Ended:
    """Return the end of a user endpoint that is gone without anybody having seen how."""
    return Ended(
        user_endpoint=user_endpoint, command=command, exit_code=None, signal=None, tail="", at=at
    )


def _fatal(line: str) -> tuple[str, str] | None:
    try:
        fatal = json.loads(line)["fatal"]
        code, message = ErrorCode(fatal["code"]), fatal["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (code, message[:_MESSAGE_CHARS]) if isinstance(message, str) else None


def _sentence(ended: Ended, last: str) -> str:
    if ended.signal is not None:
        # The launcher's own word, the last of all, where it knows what the signal was for.
        why = f": {last[:_LINE_CHARS].removeprefix(_WHY)}" if last.startswith(_WHY) else ""
        return f"The user endpoint was ended by signal {_signal(ended.signal)}{why}."
    if ended.exit_code is None:
        return "The user endpoint is gone: the endpoint's launcher was restarted."
    said = f"; the last that it wrote: {last[:_LINE_CHARS]}" if last else " without a word"
    return f"The user endpoint ended with exit code {ended.exit_code}{said}"


def _signal(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
