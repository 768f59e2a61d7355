"""From a delivery to a job, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from chamberlain_endpoint.engine.port import Job, Rules
from chamberlain_endpoint.user import task_time
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.codec import decode
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import FunctionId, TaskId, parse_function_id, parse_task_id
from chamberlain_wire.messages import Task


class FunctionNotAllowedError(ChamberlainError):
    """The site's configuration does not list this function. End the task with `public`."""

    code = ErrorCode.FUNCTION_NOT_PERMITTED


@dataclass(frozen=True, slots=True)
class Arrival:
    """A task that came, and the delivery to acknowledge when its result is out.

    Attributes:
        function: id of its function, as the hub named it; empty: it named none.
    """

    job: Job
    delivery: Delivery
    function: str = ""

    @property
    def task_id(self) -> TaskId:
        """Which task it is."""
        return self.job.task_id


@dataclass(frozen=True, slots=True)
class Turned:
    """A task that cannot run: end it with `error`.

    Attributes:
        task_id: None when not even that could be read; drop the delivery.
        function: as in `Arrival`.
        buffer: its packed function and payload, as far as it could be read.
    """

    task_id: TaskId | None
    error: ChamberlainError
    delivery: Delivery
    function: str = ""
    buffer: str = ""


def read(
    delivery: Delivery, rules: Rules, allowed: Collection[FunctionId] | None
) -> Arrival | Turned:
    """Return the job in `delivery`.

    Args:
        allowed: functions that may run here; None is all.
    """
    task_id: TaskId | None = None
    buffer = ""
    try:
        task_id = _named(delivery)
        task = decode(delivery.body, Task)
        buffer = task.task_buffer
        if task_id is None:
            task_id = parse_task_id(task.task_id)
        elif task_id != parse_task_id(task.task_id):
            raise InvalidMessageError("header and body name different tasks")
        _check_allowed(delivery, allowed)
        resources, timeout_s = task_time.split(_resources(delivery))
        job = Job(
            task_id=task_id,
            buffer=task.task_buffer,
            rules=rules,
            resources=resources,
            serializers=_serializers(delivery),
            timeout_s=timeout_s,
        )
    except ChamberlainError as error:
        return Turned(task_id, error, delivery, _function(delivery), buffer)
    return Arrival(job, delivery, _function(delivery))


def _named(delivery: Delivery) -> TaskId | None:
    text = delivery.headers.get(topology.HEADER_TASK)
    return None if text is None else parse_task_id(text)


def _function(delivery: Delivery) -> str:
    try:
        return parse_function_id(str(delivery.headers.get(topology.HEADER_FUNCTION) or ""))
    except InvalidIdError:
        return ""


def _check_allowed(delivery: Delivery, allowed: Collection[FunctionId] | None) -> None:
    if allowed is None:
        return
    text = delivery.headers.get(topology.HEADER_FUNCTION)
    try:
        if parse_function_id(text or "") in allowed:
            return
    except InvalidIdError:
        pass
    raise FunctionNotAllowedError(
        public=f"Function {str(text)[:40]} is not on the list of functions that this endpoint runs."
    )


def _resources(delivery: Delivery) -> dict[str, object] | None:
    text = delivery.headers.get(topology.HEADER_RESOURCES)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, object] | None)
    except (msgspec.MsgspecError, TypeError) as error:
        raise InvalidMessageError(
            public=f"The task's resource specification is not a JSON object ({error})."
        ) from None


def _serializers(delivery: Delivery) -> list[str] | None:
    names = delivery.headers.get(topology.HEADER_SERIALIZERS)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidMessageError(public="The task's result_serializers are not a list of names.")
    return names
