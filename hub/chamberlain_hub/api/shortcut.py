"""A short way to the hot route.

FastAPI's layers (routers, dependencies, telemetry, exit stacks) cost about as much as storing
a task does. Submit needs none of them, so it is recognised in front of them. It is a route
of FastAPI too, which describes it; both end in the same function.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from chamberlain_hub.api.errors import on_gone, on_refusal, on_surprise, status_of
from chamberlain_hub.api.services import Services, source
from chamberlain_hub.api.submit import answer_submit
from chamberlain_hub.metrics import ROUTE, SUBMIT_ROUTE
from chamberlain_wire.errors import ChamberlainError

_PATH: Final = re.compile(r"/v3/endpoints/([^/]+)/submit")


class Shortcut:
    """ASGI: answers submit itself, and passes on everything else."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        hot = scope["type"] == "http" and scope["method"] == "POST"
        match = _PATH.fullmatch(scope["path"]) if hot else None
        if match is None:
            await self._app(scope, receive, send)
            return
        scope[ROUTE] = SUBMIT_ROUTE
        request = Request(scope, receive)
        try:
            response = await answer_submit(self._services, request, match[1])
        except ChamberlainError as error:
            response = await on_refusal(request, error)
            self._services.refusals.note(
                request,
                source(self._services, request),
                status=status_of(error),
                code=error.code,
                reason=error.public,
            )
        except ClientDisconnect as error:
            response = await on_gone(request, error)
        except Exception as error:  # noqa: BLE001 - an edge of the process; it is logged
            response = await on_surprise(request, error)
        await response(scope, receive, send)
