"""What can go wrong between a caller and the site, one class per decision the caller can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chamberlain_wire.errors import (
    ChamberlainError,
    DeserializationError,
    ErrorCode,
    SerializationError,
)

__all__ = [
    "AuthenticationError",
    "ChamberlainError",
    "ConfigError",
    "ConflictError",
    "DeserializationError",
    "ForbiddenError",
    "HubError",
    "HubUnavailableError",
    "InvalidRequestError",
    "NotFoundError",
    "PayloadTooLargeError",
    "SerializationError",
    "TaskExecutionFailed",
    "TaskPendingError",
    "TaskTimeoutError",
    "VersionMismatchWarning",
]


class ConfigError(ChamberlainError):
    """The address of the hub or the token is missing or unreadable. Correct it as the text says."""

    code = ErrorCode.UNAUTHENTICATED


class HubError(ChamberlainError):
    """The hub refused a request, or failed at it.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        word: the hub's own stable word, such as `FUNCTION_NOT_FOUND`.
    """

    word: str = ""
    status: int = 0

    @classmethod
    def answered(cls, status: int, word: str, text: str) -> HubError:
        """Return the error for an HTTP answer of `status`, of the class that fits it."""
        kind = _BY_STATUS.get(status, HubError)
        error = kind(public=text)
        error.status, error.word = status, word
        return error


class AuthenticationError(HubError):
    """The token is unknown, expired or revoked. Get a new one; trying again will not help."""

    code = ErrorCode.UNAUTHENTICATED


class ForbiddenError(HubError):
    """You are known, and not allowed to do this. Ask who runs the endpoint."""

    code = ErrorCode.FORBIDDEN


class NotFoundError(HubError):
    """There is no such endpoint, function or task, or it is not yours. Check the id."""

    code = ErrorCode.NOT_FOUND


class ConflictError(HubError):
    """The state at the hub does not allow it, such as a name that is taken."""

    code = ErrorCode.CONFLICT


class PayloadTooLargeError(HubError):
    """Function or arguments are larger than the hub takes; the text names the limit.

    Put large data where the workers can read it, and pass its path.
    """

    code = ErrorCode.TASK_PAYLOAD_TOO_LARGE


class InvalidRequestError(HubError):
    """The hub or the endpoint refused what was asked; the text says which part and why."""

    code = ErrorCode.SEMANTICALLY_INVALID


class HubUnavailableError(HubError):
    """The hub did not answer, although it was asked again for a while. Try later."""

    code = ErrorCode.UNAVAILABLE


class TaskPendingError(ChamberlainError):
    """The task has not ended yet. Ask again later, or use an Executor, which is told."""

    code = ErrorCode.UNAVAILABLE
    public = "The task has not ended yet."


class TaskExecutionFailed(ChamberlainError):  # noqa: N818 - the name that users know
    """The task failed over there.

    It is raised itself when the original exception could not travel, and is the `__cause__`
    of the original exception when it could: either way the remote traceback is shown.

    Attributes:
        remote_traceback: text as the worker, the endpoint or the hub wrote it.
        word: stable word, such as `RemoteExecutionError` or `TASK_LOST`.
        task_id: id of the task.
        details: facts of the worker (`python_version`, `hostname`, ...), maybe empty.
    """

    code: ClassVar[ErrorCode] = ErrorCode.REMOTE_EXECUTION

    def __init__(
        self,
        remote_traceback: str,
        *,
        word: str = ErrorCode.REMOTE_EXECUTION.value,
        task_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(public=remote_traceback.strip() or word)
        self.remote_traceback = remote_traceback
        self.word = word
        self.task_id = task_id
        self.details = dict(details or {})

    def __str__(self) -> str:
        if self.word != ErrorCode.REMOTE_EXECUTION:
            return f"{self.public} ({self.word})"
        indented = "\n".join("  " + line for line in self.public.splitlines())
        host = self.details.get("hostname")
        return f"task {self.task_id} failed{f' on {host}' if host else ''}:\n{indented}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            *(type(self), self.remote_traceback, self.word, self.task_id, self.details),
        )


class TaskTimeoutError(TaskExecutionFailed):
    """The task took longer than it may; the text names the limit and who set it.

    Ask for more with `task_timeout_s` in `resource_specification`, where it was your own limit;
    otherwise ask whoever runs the endpoint, or make the task smaller.
    """

    code = ErrorCode.TASK_TIMEOUT


class VersionMismatchWarning(UserWarning):
    """The workers run another Python than this one; the text names both versions.

    Functions travel as bytecode by default, which does not always survive the difference: use
    `serializer(code="AllCodeStrategies")`. Where warnings are errors, tasks are not sent.
    """


def _rebuild(
    kind: type[TaskExecutionFailed], text: str, word: str, task_id: str, details: dict[str, Any]
) -> TaskExecutionFailed:
    return kind(text, word=word, task_id=task_id, details=details)


_BY_STATUS: dict[int, type[HubError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: InvalidRequestError,
    429: HubUnavailableError,
    502: HubUnavailableError,
    503: HubUnavailableError,
    504: HubUnavailableError,
}
