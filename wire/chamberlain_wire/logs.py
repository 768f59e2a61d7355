"""Log lines are data: one JSON object a line, with a closed list of fields.

Pass fields with `extra=`; a field that is not on the list is refused when tests run and
dropped otherwise. Never log arguments, results, environments or tokens.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Generic, TextIO, TypeVar

FIELDS: Final = (
    "event",
    "site",
    "endpoint",
    "user_endpoint",
    "task",
    "function",
    "user",
    "account",
    "uid",
    "container",
    "job",
    "command",
    "attempt",
    "state_from",
    "state_to",
    "code",
    "reason",
    "count",
    "took_ms",
    "size_bytes",
)
"""All that a line may carry beside `at`, `level`, `logger`, `message` and `error`."""

T = TypeVar("T")


class Secret(Generic[T]):
    """A value that does not show itself. Read it with `reveal()`, as late as possible."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(other._value == self._value)

    def __hash__(self) -> int:
        return hash(self._value)


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON line, UTC time first."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"at": at, "level": record.levelname}
        values = record.__dict__
        line.update({name: values[name] for name in FIELDS if name in values})
        line["message"] = record.getMessage()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send every log line of this process to `stream` (default: standard error) as JSON.

    Call it once, from `main`. Libraries below WARNING stay quiet.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("chamberlain", "chamberlain_wire", "chamberlain_hub", "chamberlain_endpoint"):
        logging.getLogger(ours).setLevel(level)
    # pika reports each lost connection several times; our adaptor says it once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
