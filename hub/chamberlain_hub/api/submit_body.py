"""The body of submit: decoded by msgspec, which costs a fifth of what a model a task would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from chamberlain_hub.api.errors import MalformedError, RequestInvalidError
from chamberlain_hub.dispatch.submissions import Submission
from chamberlain_wire.ids import (
    FunctionId,
    TaskId,
    parse_endpoint_id,
    parse_function_id,
    parse_task_group_id,
    parse_task_id,
)

T = TypeVar("T")

_MAX_RUNTIME_BYTES: Final = 32 * 1024
_MAX_RESOURCES_BYTES: Final = 32 * 1024


class SubmitBody(msgspec.Struct, frozen=True):
    """Tasks to run at one endpoint with one configuration.

    Attributes:
        tasks: function id -> packed arguments of each task.
        task_ids: *extension*: ids that the caller made, in the order of `tasks`. A repeat with
            the same ids is harmless.
        create_queue: the caller will read results from the broker.
    """

    tasks: dict[str, list[str]]
    task_ids: dict[str, list[str]] | None = None
    task_group_id: str | None = None
    create_queue: bool = False
    user_endpoint_config: dict[str, Any] | None = None
    user_runtime: dict[str, Any] | None = None
    resource_specification: dict[str, Any] | None = None
    result_serializers: list[str] | None = None


_decoder = msgspec.json.Decoder(SubmitBody)


def parse(endpoint_id: str, body: bytes, source: str, *, max_tasks: int) -> Submission:
    """Return the submission in `body`.

    Raises:
        MalformedError: it is not JSON.
        RequestInvalidError: another shape, bad ids, or ids that do not fit the tasks.
        InvalidIdError: an id is none.
    """
    return submission(endpoint_id, decode(body, _decoder), source, max_tasks=max_tasks)


def submission(endpoint_id: str, asked: SubmitBody, source: str, *, max_tasks: int) -> Submission:
    """Return the submission that `asked` is.

    Raises:
        RequestInvalidError: bad ids, or ids that do not fit the tasks.
        InvalidIdError: an id is none.
    """
    payloads = {
        parse_function_id(function): tuple(tasks) for function, tasks in asked.tasks.items()
    }
    _check_payloads(payloads, max_tasks)
    group = None if asked.task_group_id is None else parse_task_group_id(asked.task_group_id)
    _sized("user_runtime", asked.user_runtime, _MAX_RUNTIME_BYTES)
    return Submission(
        endpoint=parse_endpoint_id(endpoint_id),
        payloads=payloads,
        task_ids=_task_ids(asked.task_ids, payloads),
        group=group,
        create_queue=asked.create_queue,
        options=asked.user_endpoint_config,
        runtime=asked.user_runtime,
        resources=_sized(
            "resource_specification", asked.resource_specification, _MAX_RESOURCES_BYTES
        ),
        serializers=None if asked.result_serializers is None else tuple(asked.result_serializers),
        source=source,
    )


def schema() -> dict[str, Any]:
    """Return the JSON schemas of the body and its parts, by name, for OpenAPI."""
    _, components = msgspec.json.schema_components(
        [SubmitBody], ref_template="#/components/schemas/{name}"
    )
    return components


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return what `decoder` makes of `body`.

    Raises:
        MalformedError: it is not JSON.
        RequestInvalidError: another shape; `public` names the place.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestInvalidError(public=_told(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(public=f"The body of the request is not JSON: {error}.") from None


def _told(error: msgspec.ValidationError) -> str:
    reason, _, path = str(error).partition(" - at ")
    return f"{path.strip('`') or '$'}: {reason}"


def _check_payloads(payloads: Mapping[FunctionId, Sequence[str]], max_tasks: int) -> None:
    count = sum(map(len, payloads.values()))
    if not count or not all(payloads.values()):
        raise RequestInvalidError(public="$.tasks: a function has no task")
    if count > max_tasks:
        raise RequestInvalidError(public=f"$.tasks: {count} tasks, the limit is {max_tasks}")
    # PostgreSQL stores no NUL; refusing it everywhere keeps both databases alike.
    if any("\0" in payload for tasks in payloads.values() for payload in tasks):
        raise RequestInvalidError(public="$.tasks: a NUL character is not allowed")


def _task_ids(
    asked: Mapping[str, Sequence[str]] | None, payloads: Mapping[FunctionId, Sequence[str]]
) -> dict[FunctionId, list[TaskId]] | None:
    if asked is None:
        return None
    ids = {
        parse_function_id(function): [parse_task_id(text) for text in texts]
        for function, texts in asked.items()
    }
    if {one: len(tasks) for one, tasks in payloads.items()} != _lengths(ids):
        raise RequestInvalidError(public="$.task_ids: not one id for each of $.tasks")
    every = [task_id for group in ids.values() for task_id in group]
    if len(set(every)) != len(every):
        raise RequestInvalidError(public="$.task_ids: an id stands there twice")
    return ids


def _lengths(ids: Mapping[FunctionId, Sequence[TaskId]]) -> dict[FunctionId, int]:
    return {function: len(tasks) for function, tasks in ids.items()}


def _sized(name: str, value: object, limit_bytes: int) -> str:
    text = json.dumps(value)
    if len(text) > limit_bytes:
        raise RequestInvalidError(
            public=f"$.{name}: {len(text)} bytes of JSON, the limit is {limit_bytes}"
        )
    return text
