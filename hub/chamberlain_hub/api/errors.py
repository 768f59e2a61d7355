"""Every refusal as the public clients expect it, made in one place.

JSON with `status: "Failed"`, `http_status_code`, `code`, `message` and `reason` (the same
sentence twice: clients of different age read one or the other).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.domain.errors import TooManyRequestsError
from chamberlain_hub.domain.policy import PolicyRefusedError
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidMessageError

log = logging.getLogger(__name__)

_STATUS: Final[Mapping[str, int]] = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.FUNCTION_NOT_PERMITTED: 403,
    ErrorCode.ENDPOINT_NOT_FOUND: 404,
    ErrorCode.FUNCTION_NOT_FOUND: 404,
    ErrorCode.TASK_NOT_FOUND: 404,
    ErrorCode.TASKGROUP_NOT_FOUND: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.TASK_PAYLOAD_TOO_LARGE: 413,
    ErrorCode.SEMANTICALLY_INVALID: 422,
    ErrorCode.INVALID_ID: 422,
    ErrorCode.ENDPOINT_LOCKED: 423,
    ErrorCode.TOO_MANY_REQUESTS: 429,
    ErrorCode.INVALID_MESSAGE: 400,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.BROKER: 503,
}

_OF_HTTP: Final[Mapping[int, str]] = {
    400: ErrorCode.INVALID_MESSAGE,
    404: ErrorCode.NOT_FOUND,
}
_INVALID: Final = (ErrorCode.SEMANTICALLY_INVALID, ErrorCode.INVALID_ID)
_PREFIX: Final = "Request payload failed validation: "
_TRY_AGAIN_S: Final = "1"
_MAX_FAULTS: Final = 20


class RequestInvalidError(ChamberlainError):
    """The request was read and makes no sense. Answer 422; `public` names path and reason."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "The request makes no sense."


class MalformedError(InvalidMessageError):
    """The body is not JSON. Answer 400."""

    public = "The body of the request is not JSON."


class TooLargeError(ChamberlainError):
    """The body, or a part of it, is larger than the limit. Answer 413; `public` names both."""

    code = ErrorCode.TASK_PAYLOAD_TOO_LARGE

    @classmethod
    def of(cls, what: str, size_bytes: int, limit_bytes: int) -> TooLargeError:
        """Return the error for `what`, such as `"The request"`."""
        return cls(public=f"{what} has {size_bytes} bytes; the limit is {limit_bytes} bytes.")


class VerdictRefusedError(ChamberlainError):
    """The endpoint refused to start a user endpoint for the caller. Answer 422.

    Attributes:
        cause: the endpoint's own word for it, such as `IDENTITY_NOT_MAPPED`.
    """

    code = ErrorCode.SEMANTICALLY_INVALID

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(public=message)
        self.cause = cause


Note = Callable[[Request, int, ChamberlainError], None]


def install(app: FastAPI, note: Note) -> None:
    """Answer all that handlers of `app` raise, and bring each refusal to `note`."""

    async def noted(request: Request, error: Exception) -> Response:
        assert isinstance(error, ChamberlainError)
        note(request, status_of(error), error)
        return await on_refusal(request, error)

    async def noted_invalid(request: Request, error: Exception) -> Response:
        refused = _invalid(error)
        note(request, status_of(refused), refused)
        return refusal(refused)

    app.add_exception_handler(ChamberlainError, noted)
    app.add_exception_handler(RequestValidationError, noted_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(Exception, on_surprise)


def status_of(error: ChamberlainError) -> int:
    """Return the HTTP status that `error` is answered with."""
    return _STATUS.get(error.code, 500)


def refusal(error: ChamberlainError) -> Response:
    """Return the answer for `error`."""
    status = status_of(error)
    code, message = error.code, error.public
    headers = {}
    if code in _INVALID:
        code, message = ErrorCode.SEMANTICALLY_INVALID, _PREFIX + message
    elif status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _TRY_AGAIN_S
    elif isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.wait_s)
    return _answer(status, code, message, headers, _more(error))


def _more(error: ChamberlainError) -> Mapping[str, Any]:
    if isinstance(error, VerdictRefusedError):
        return {"cause": error.cause}
    if isinstance(error, PolicyRefusedError) and error.login_helps:
        # The public clients log in again when they read this, and try once more.
        wanted = {"session_message": error.public, "session_required_policies": [error.login_helps]}
        return {"authorization_parameters": wanted}
    return {}


def _answer(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    document = {
        "status": "Failed",
        "http_status_code": status,
        "code": code,
        "message": message,
        "reason": message,
        **(extra or {}),
    }
    return json_answer(document, status, headers)


async def on_refusal(_request: Request, error: Exception) -> Response:
    """Log a refusal and answer it."""
    assert isinstance(error, ChamberlainError)
    status = status_of(error)
    log.log(
        logging.WARNING if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO,
        "request refused",
        extra={"event": "request.refused", "code": error.code, "reason": str(error)},
    )
    return refusal(error)


def _invalid(error: Exception) -> ChamberlainError:
    assert isinstance(error, RequestValidationError)
    faults: Sequence[Any] = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return MalformedError()
    shown = [f"{_path(fault['loc'])}: {fault['msg']}" for fault in faults[:_MAX_FAULTS]]
    return RequestInvalidError(public="; ".join(shown))


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ChamberlainError):
        # FastAPI wraps whatever goes wrong while it reads a body.
        return refusal(error.__cause__)
    status = error.status_code
    code = _OF_HTTP.get(status) or HTTPStatus(status).name
    return _answer(status, code, str(error.detail), error.headers)


async def on_gone(_request: Request, _error: Exception) -> Response:
    """Answer a client that hung up while it sent its request."""
    # Nobody reads it; the server only wants an answer.
    return Response(status_code=400)


async def on_surprise(_request: Request, error: Exception) -> Response:
    """Log what nobody expected, and answer without detail."""
    log.error("request failed", exc_info=error, extra={"event": "request.failed"})
    return refusal(ChamberlainError())


def _path(parts: Sequence[object]) -> str:
    inner = parts[1:] if parts and parts[0] in ("body", "query", "path", "header") else parts
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
