"""The one error tree. Standard library only: root's processes load this module.

An error knows three things: a stable word (`code`), a sentence that may be shown to
anybody (`public`), and, in its `args`, the detail for the log. The words are those that the
public clients already know, plus our own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Stable words for what went wrong. Never renamed, only added."""

    # Words of the public REST interface.
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    FUNCTION_NOT_PERMITTED = "FUNCTION_NOT_PERMITTED"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    FUNCTION_NOT_FOUND = "FUNCTION_NOT_FOUND"
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    TASKGROUP_NOT_FOUND = "TASKGROUP_NOT_FOUND"
    SEMANTICALLY_INVALID = "SEMANTICALLY_INVALID"
    TASK_PAYLOAD_TOO_LARGE = "TASK_PAYLOAD_TOO_LARGE"
    ENDPOINT_LOCKED = "ENDPOINT_LOCKED"
    TOO_MANY_REQUESTS = "MaxRequestsExceeded"
    CONFLICT = "CONFLICT"
    NOT_FOUND = "NOT_FOUND"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"
    # Words of a task's end.
    REMOTE_EXECUTION = "RemoteExecutionError"
    RESULT_TOO_LARGE = "MaxResultSizeExceeded"
    TASK_LOST = "TASK_LOST"
    TASK_CANCELLED = "TASK_CANCELLED"
    TASK_TIMEOUT = "TASK_TIMEOUT"
    TASK_EXPIRED = "TASK_EXPIRED"
    # Words of the endpoint's verdict.
    IDENTITY_NOT_MAPPED = "IDENTITY_NOT_MAPPED"
    ACCOUNT_REFUSED = "ACCOUNT_REFUSED"
    SITE_FULL = "SITE_FULL"
    OPTIONS_REFUSED = "OPTIONS_REFUSED"
    TEMPLATE_FAILED = "TEMPLATE_FAILED"
    CONFIG_INVALID = "CONFIG_INVALID"
    START_FAILED = "START_FAILED"
    COMMAND_REFUSED = "COMMAND_REFUSED"
    # Words inside our own programs.
    INVALID_ID = "INVALID_ID"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    ILLEGAL_MOVE = "ILLEGAL_MOVE"
    BROKER = "BROKER"
    SERIALIZATION = "SERIALIZATION"


class ChamberlainError(Exception):
    """Root of every error that we raise on purpose.

    Attributes:
        code: the stable word.
        public: a sentence that may be shown to the caller; it names no secret and no path
            of the host.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    public: str = "Something went wrong on our side; the administrator's log has the cause."

    def __init__(self, detail: str = "", *, public: str | None = None) -> None:
        super().__init__(detail or public or self.public)
        if public is not None:
            self.public = public


class InvalidIdError(ChamberlainError):
    """A text is not an id of the kind that was asked for. The caller's input is wrong."""

    code = ErrorCode.INVALID_ID
    public = "An id is not a valid UUID."


class InvalidMessageError(ChamberlainError):
    """Bytes from a queue or socket are not a message that we know. Drop them; do not retry."""

    code = ErrorCode.INVALID_MESSAGE
    public = "A message could not be read."


class IllegalMoveError(ChamberlainError):
    """A life table has no such move. The caller acted on a stale picture; look again."""

    code = ErrorCode.ILLEGAL_MOVE

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"no move from {state!r} on {event!r}")


class SerializationError(ChamberlainError):
    """An object could not be turned into text, or text into an object."""

    code = ErrorCode.SERIALIZATION
    public = "A function, argument or result could not be serialized."


class DeserializationError(SerializationError):
    """A text cannot, or must not, be made into an object here."""

    public = "A function, argument or result could not be read."
