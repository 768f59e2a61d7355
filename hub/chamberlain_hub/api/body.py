"""No body is larger than the limit: refused by its announced length, and while it is read."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chamberlain_hub.api.errors import TooLargeError, refusal


class BodyLimit:
    """ASGI middleware.

    Args:
        limit_bytes: largest body of any request.
    """

    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _announced_bytes(scope)
        if announced is not None and announced > self._limit_bytes:
            error = TooLargeError.of("The request", announced, self._limit_bytes)
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._limit_bytes:
                raise TooLargeError.of("The request", read_bytes, self._limit_bytes)
            return message

        return counted


def _announced_bytes(scope: Scope) -> int | None:
    text = Request(scope).headers.get("content-length", "")
    # httptools has refused what is no number; a chunked body announces nothing.
    return int(text) if text.isdecimal() else None
