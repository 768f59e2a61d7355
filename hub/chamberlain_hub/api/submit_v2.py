"""The older form of submit: each task names its function and its endpoint.

Clients of today use `POST /v3/endpoints/{id}/submit`. All tasks are taken, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from chamberlain_hub.api import submit_body
from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.errors import RequestInvalidError
from chamberlain_hub.api.services import (
    Services,
    computing,
    principal_of,
    services_of,
    source,
    token_of,
)
from chamberlain_hub.api.submit import admitted
from chamberlain_hub.api.submit_body import SubmitBody
from chamberlain_hub.dispatch.submissions import Accepted, Prepared
from chamberlain_wire.ids import TaskId, new_id, parse_endpoint_id, parse_function_id

router = APIRouter(tags=["tasks"])


class SubmitBodyV2(msgspec.Struct, frozen=True):
    """Tasks to run, perhaps at several endpoints.

    Attributes:
        tasks: function id, endpoint id and packed arguments of each task.
        create_websocket_queue: what older clients call `create_queue`.
    """

    tasks: list[tuple[str, str, str]]
    task_group_id: str | None = None
    create_queue: bool = False
    create_websocket_queue: bool = False
    user_endpoint_config: dict[str, Any] | None = None
    user_runtime: dict[str, Any] | None = None
    resource_specification: dict[str, Any] | None = None
    result_serializers: list[str] | None = None


_decoder: Final = msgspec.json.Decoder(SubmitBodyV2)


@router.post("/v2/submit", summary="Run functions at endpoints, in the older form")
async def submit(request: Request) -> Response:
    """Answers as the newer form does, when the tasks are stored; `results` are in the order of
    `tasks`."""
    hub = services_of(request)
    token = token_of(request)
    body = await request.body()
    asked, prepared = await hub.run(_prepare, hub, request, token, body)
    for one in prepared.values():
        if one.verdict is not None:
            await admitted(one.verdict, hub.settings.submit_verdict_wait_s)
    accepted = await hub.run(_accept, hub, prepared)
    return json_answer(_document(asked, accepted))


def _prepare(
    hub: Services, request: Request, token: str, body: bytes
) -> tuple[SubmitBodyV2, dict[str, Prepared]]:
    """Return the body, and what is to be stored for each endpoint."""
    principal = computing(principal_of(hub, token))
    request.state.principal = principal
    asked = submit_body.decode(body, _decoder)
    # One task group for all of them, whoever makes it.
    group = asked.task_group_id or new_id()
    most = hub.settings.max_tasks_per_submit
    submissions = [
        submit_body.submission(
            endpoint,
            SubmitBody(
                tasks=tasks,
                task_group_id=group,
                create_queue=asked.create_queue or asked.create_websocket_queue,
                user_endpoint_config=asked.user_endpoint_config,
                user_runtime=asked.user_runtime,
                resource_specification=asked.resource_specification,
                result_serializers=asked.result_serializers,
            ),
            source(hub, request),
            max_tasks=most,
        )
        for endpoint, tasks in _by_endpoint(asked).items()
    ]
    return asked, {one.endpoint: hub.submissions.prepare(principal, one) for one in submissions}


def _by_endpoint(asked: SubmitBodyV2) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for function, endpoint, payload in asked.tasks:
        of_endpoint = found.setdefault(parse_endpoint_id(endpoint), {})
        of_endpoint.setdefault(parse_function_id(function), []).append(payload)
    if not found:
        raise RequestInvalidError(public="$.tasks: there is no task")
    return found


def _accept(hub: Services, prepared: Mapping[str, Prepared]) -> dict[str, Accepted]:
    return {endpoint: hub.submissions.accept(one) for endpoint, one in prepared.items()}


def _document(asked: SubmitBodyV2, accepted: Mapping[str, Accepted]) -> dict[str, Any]:
    left: dict[tuple[str, str], Iterator[TaskId]] = {
        (endpoint, function): iter(ids)
        for endpoint, one in accepted.items()
        for function, ids in one.tasks.items()
    }
    ids = [
        next(left[parse_endpoint_id(endpoint), parse_function_id(function)])
        for function, endpoint, _ in asked.tasks
    ]
    return {
        "response": "success",
        "request_id": new_id(),
        "task_group_id": next(iter(accepted.values())).group,
        "results": [
            {"status": "Success", "task_uuid": one, "http_status_code": 200, "reason": None}
            for one in ids
        ],
    }
