"""The route for what a task printed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.services import Caller, Hub
from chamberlain_hub.domain.access import owns
from chamberlain_hub.domain.errors import TaskNotFoundError
from chamberlain_hub.domain.task import TaskRow
from chamberlain_wire.details import Output, output_of
from chamberlain_wire.ids import parse_task_id

router = APIRouter(tags=["tasks"])


@router.get("/v3/tasks/{task_id}/logs", summary="What a task printed")
def get_logs(hub: Hub, caller: Caller, task_id: str) -> Response:
    """The end of standard output and standard error, once the task has ended. 404 also for
    other people's tasks.
    """
    task = hub.store.task(parse_task_id(task_id))
    if task is None or not owns(caller, task.owner):
        raise TaskNotFoundError(public=f"There is no task {task_id}.")
    found = None if task.result is None else output_of(task.result)
    reason = _why_none(task, found)
    output = Output() if found is None else found
    document: dict[str, Any] = {
        "task_id": task.id,
        "state": task.state,
        "captured": not reason,
        "reason": reason,
    }
    for name, stream in (("stdout", output.stdout), ("stderr", output.stderr)):
        document[name] = {"text": stream.text, "cut_bytes": stream.cut_bytes}
    return json_answer(document)


def _why_none(task: TaskRow, found: Output | None) -> str:
    """Return a sentence for the owner; empty when there is something to show."""
    if task.result is None:
        return "The task has not ended; what it prints comes with its result."
    if found is None:
        return (
            "No worker told what the task printed: it ended without a worker's answer, or its "
            "endpoint's software does not capture it."
        )
    if not found.captured:
        return (
            "This endpoint does not capture what functions print: its configuration has "
            "task_output_bytes: 0. Write to a file, or return what you need."
        )
    return ""
