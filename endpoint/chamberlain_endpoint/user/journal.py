"""Our own log file: JSON lines, rotated."""

from __future__ import annotations

import logging
import logging.handlers
import threading
from pathlib import Path
from typing import Final

from chamberlain_wire.logs import JsonFormatter, set_up

_MOST_BYTES: Final = 10 * 1024 * 1024


def open_log(path: Path, *, debug: bool) -> None:
    """Send every log line of this process to `path`; at 10 MiB it becomes `path`.1.

    What ends a thread is logged too, instead of being printed.
    """
    set_up(level=logging.DEBUG if debug else logging.INFO)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_MOST_BYTES, backupCount=1)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers[:] = [handler]
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    logging.getLogger(__name__).error(
        "a thread ended",
        exc_info=(args.exc_type, error, args.exc_traceback),
        extra={"event": "thread.ended", "reason": args.thread.name if args.thread else ""},
    )
