"""The hot route: submit. Raw body, one trip to a thread, no model and no await for each task."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from chamberlain_hub.api import submit_body
from chamberlain_hub.api.errors import VerdictRefusedError
from chamberlain_hub.api.services import (
    Services,
    computing,
    principal_of,
    services_of,
    source,
    token_of,
)
from chamberlain_hub.dispatch.commands import Verdict
from chamberlain_hub.dispatch.submissions import Accepted, Prepared
from chamberlain_wire.ids import new_id

router = APIRouter(tags=["tasks"])

_DOCS: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SubmitBody"}}},
    }
}

_encoder = msgspec.json.Encoder()


@router.post(
    "/v3/endpoints/{endpoint_id}/submit",
    summary="Run functions at an endpoint",
    openapi_extra=_DOCS,
)
async def submit(request: Request, endpoint_id: str) -> Response:
    """Answers when the tasks are stored.

    A user endpoint that does not run yet is asked for; the answer waits for the endpoint's
    verdict (a few seconds at most), never for the start itself. Refused: 422, nothing stored.
    """
    return await answer_submit(services_of(request), request, endpoint_id)


async def answer_submit(hub: Services, request: Request, endpoint_id: str) -> Response:
    """Answer a submit.

    Raises:
        ChamberlainError: it is refused; `errors.refusal` makes the answer.
    """
    # Before the body: nobody unknown makes us read ten megabytes.
    token = token_of(request)
    body = await request.body()
    done = await hub.run(_begin, hub, request, endpoint_id, body, token)
    if isinstance(done, Prepared):
        assert done.verdict is not None
        await admitted(done.verdict, hub.settings.submit_verdict_wait_s)
        done = await hub.run(hub.submissions.accept, done)
    return _answer(done)


def _begin(
    hub: Services, request: Request, endpoint_id: str, body: bytes, token: str
) -> Prepared | Accepted:
    """Do all that can be done at once: everything, if the user endpoint serves."""
    principal = computing(principal_of(hub, token))
    request.state.principal = principal
    submission = submit_body.parse(
        endpoint_id, body, source(hub, request), max_tasks=hub.settings.max_tasks_per_submit
    )
    prepared = hub.submissions.prepare(principal, submission)
    if prepared.verdict is None:
        return hub.submissions.accept(prepared)
    return prepared


async def admitted(verdict: Future[Verdict | None], wait_s: float) -> None:
    """Wait for the verdict; return when the tasks may be stored.

    Raises:
        VerdictRefusedError: the endpoint said no.
    """
    # Not wait_for, which would cancel what others wait for, too.
    await asyncio.wait({asyncio.wrap_future(verdict)}, timeout=wait_s)
    said = verdict.result() if verdict.done() else None
    if said is not None and not said.admitted:
        raise VerdictRefusedError(said.code, said.message)


def _answer(accepted: Accepted) -> Response:
    return Response(
        _encoder.encode(
            {
                "request_id": new_id(),
                "task_group_id": accepted.group,
                "endpoint_id": accepted.user_endpoint,
                "tasks": accepted.tasks,
            }
        ),
        media_type="application/json",
    )
