"""Routes for the state and result of tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.bodies import BatchStatusBody, CancelBody
from chamberlain_hub.api.services import Caller, Hub, Services
from chamberlain_hub.domain.access import owns
from chamberlain_hub.domain.errors import TaskGroupNotFoundError, TaskNotFoundError
from chamberlain_hub.domain.task import Cancellation, TaskRow
from chamberlain_wire.details import exception_of, plain, usage_of
from chamberlain_wire.ids import TaskId, parse_task_group_id, parse_task_id
from chamberlain_wire.messages import Result
from chamberlain_wire.states import TaskState

router = APIRouter(tags=["tasks"])

_MAX_LISTED: Final = 1000


@router.get("/v2/tasks/{task_id}", summary="A task")
def get_task(hub: Hub, caller: Caller, task_id: str) -> Response:
    """404 also for other people's tasks."""
    task = hub.store.task(parse_task_id(task_id))
    if task is None or not owns(caller, task.owner):
        raise TaskNotFoundError(public=f"There is no task {task_id}.")
    return json_answer(_document(task, _cancellations(hub, [task]).get(task.id)))


@router.post("/v2/batch_status", summary="Many tasks")
def get_tasks(hub: Hub, caller: Caller, body: BatchStatusBody) -> Response:
    """Tasks that do not exist, or are other people's, are left out."""
    ids = [parse_task_id(text) for text in body.task_ids]
    found = [task for task in hub.store.tasks(ids) if owns(caller, task.owner)]
    cancelled = _cancellations(hub, found)
    documents = {task.id: _document(task, cancelled.get(task.id)) for task in found}
    return json_answer({"response": "batch", "results": documents})


@router.post("/v3/tasks/cancel", summary="Cancel own tasks")
def cancel_tasks(hub: Hub, caller: Caller, body: CancelBody) -> Response:
    """For each id `cancelled`, `asked` (its user endpoint is told to end it), `ended` (it had
    ended before) or `unknown` (also other people's). After the first two, no result will come.
    """
    ids = [parse_task_id(text) for text in body.task_ids]
    return json_answer({"tasks": hub.dispatcher.cancellations.cancel(caller, ids)})


@router.get("/v2/taskgroup/{group_id}", summary="Ids of a task group's tasks")
def get_group(hub: Hub, caller: Caller, group_id: str) -> Response:
    """404 also for other people's task groups."""
    group = parse_task_group_id(group_id)
    owner = hub.store.group_owner(group)
    if owner is None or not owns(caller, owner):
        raise TaskGroupNotFoundError(public=f"There is no task group {group_id}.")
    return json_answer(
        {
            "taskgroup_id": group,
            "create_websockets_queue": True,
            "tasks": [{"id": task_id} for task_id in hub.store.group_tasks(group)],
        }
    )


@router.get("/v3/tasks", summary="Own tasks, newest first")
def list_tasks(
    hub: Hub,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=_MAX_LISTED)] = 50,
    state: TaskState | None = None,
) -> Response:
    """Without payloads and results."""
    tasks = hub.store.tasks_of(caller.identity.id, limit, state)
    functions = {one: hub.store.function(one, with_deleted=True) for one in _functions(tasks)}
    return json_answer(
        {
            "tasks": [
                {
                    "task_id": task.id,
                    "function_id": task.function,
                    "function_name": getattr(functions[task.function], "name", ""),
                    "endpoint_id": task.endpoint,
                    "user_endpoint_id": task.user_endpoint,
                    "task_group_id": task.group,
                    "state": task.state,
                    "submitted_at": task.submitted_at,
                    "completed_at": task.completed_at,
                    "usage": task.usage,
                }
                for task in tasks
            ]
        }
    )


def _functions(tasks: list[TaskRow]) -> set[str]:
    return {task.function for task in tasks}


def _cancellations(hub: Services, tasks: list[TaskRow]) -> dict[TaskId, Cancellation]:
    cancelled = [task.id for task in tasks if task.state is TaskState.CANCELLED]
    return hub.store.cancellations(cancelled) if cancelled else {}


def _document(task: TaskRow, cancellation: Cancellation | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "task_id": task.id,
        "status": task.state,
        "task_group_id": task.group,
        "details": None,
    }
    if task.result is not None and task.completed_at is not None:
        # The public clients know two ends; a cancelled task is a failed one to them.
        failed = task.state is not TaskState.SUCCESS
        document["status"] = TaskState.FAILED if failed else TaskState.SUCCESS
        document["completion_t"] = str(task.completed_at)
        document |= _ended(task.result, failed=failed)
    if cancellation is not None:
        document["cancellation"] = {
            "asked_at": cancellation.asked_at,
            "confirmed_at": cancellation.closed_at,
            "outcome": cancellation.outcome,
        }
    return document


def _ended(result: Result, *, failed: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "exception" if failed else "result": result.data,
        # Not what was printed: hundreds of results may be asked for at once.
        "details": plain(result.details),
    }
    if result.error_details is not None:
        document["error_details"] = msgspec.to_builtins(result.error_details)
    exception, used = exception_of(result), usage_of(result)
    if exception is not None:
        document["packed_exception"] = exception
    if used is not None:
        document["usage"] = msgspec.to_builtins(used)
    return document
