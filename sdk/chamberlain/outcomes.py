"""From what the endpoint says about a task's end to the state of its future."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from concurrent.futures import CancelledError, InvalidStateError
from typing import Any, Final

from chamberlain.errors import SerializationError, TaskExecutionFailed, TaskTimeoutError
from chamberlain.futures import ChamberlainFuture, fail, note_logs
from chamberlain.logs import from_result
from chamberlain.runtime import dill_version, version
from chamberlain.source_lines import with_source
from chamberlain_wire.details import exception_of, plain
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.messages import ErrorDetails, Result
from chamberlain_wire.serialize import Serializer, unpack_exception, unpack_result
from chamberlain_wire.states import ENDED, TaskState

_KINDS: Final = {ErrorCode.TASK_TIMEOUT.value: TaskTimeoutError}
_UNKNOWN_END = "UNKNOWN_TASK_FAILURE"


def settle(future: ChamberlainFuture, result: Result, serializer: Serializer) -> None:
    """End `future` with what `result` says."""
    note_logs(future, from_result(result))
    try:
        value = value_of(result, serializer)
    except CancelledError:
        future.end_cancelled()
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        fail(future, error)
    else:
        with contextlib.suppress(InvalidStateError):  # a repeat: it has ended already
            future.set_result(value)


def value_of(result: Result, serializer: Serializer) -> Any:
    """Return what the function returned.

    Raises:
        Exception: what the function raised, when it could travel, caused by
            `TaskExecutionFailed` with the remote traceback.
        CancelledError: the task was cancelled (`concurrent.futures`).
        TaskExecutionFailed: the task failed in another way.
        SerializationError: the result cannot be made here.
    """
    if result.error_details is None:
        try:
            return unpack_result(result.data, serializer.allowed)
        except SerializationError as error:
            _note_versions(error, result.details or {})
            raise
    if result.state is TaskState.CANCELLED:
        raise CancelledError(result.data)
    kind = _KINDS.get(result.error_details.code, TaskExecutionFailed)
    failure = kind(
        with_source(result.data or result.error_details.user_message, began_at=_began_at(result)),
        word=result.error_details.code,
        task_id=result.task_id,
        details=plain(result.details),
    )
    _note_versions(failure, result.details or {})
    original = unpack_exception(exception_of(result), serializer.allowed)
    # SystemExit and its like ended the task over there; they must not end this process, too.
    if isinstance(original, Exception):
        raise original from failure
    raise failure


def from_rest(document: Mapping[str, Any]) -> Result | None:
    """Return the Result in a task document of the hub, or None while the task is open."""
    try:
        state = TaskState(document.get("status", ""))
    except ValueError:
        return None
    if state not in ENDED:
        return None
    failed = state is not TaskState.SUCCESS
    told = document.get("error_details") or {}
    text = document.get("exception") if failed else document.get("result")
    return Result(
        task_id=str(document["task_id"]),
        data=str(text or ""),
        details=document.get("details"),
        error_details=ErrorDetails(
            code=str(told.get("code") or _word(state)),
            user_message=str(told.get("user_message") or ""),
        )
        if failed
        else None,
        exception=document.get("packed_exception"),
    )


def _began_at(result: Result) -> float | None:
    return result.task_statuses[0].timestamp / 1e9 if result.task_statuses else None


def _word(state: TaskState) -> str:
    return "TASK_CANCELLED" if state is TaskState.CANCELLED else _UNKNOWN_END


def _note_versions(error: BaseException, details: Mapping[str, Any]) -> None:
    there, here = str(details.get("python_version") or ""), platform.python_version()
    if there and there.split(".")[:2] != here.split(".")[:2]:
        error.add_note(
            f"The worker runs Python {there}, and this is Python {here}: functions and objects "
            "do not always survive the difference. AllCodeStrategies sends source as well."
        )
    dill_there, dill_here = str(details.get("dill_version") or ""), dill_version()
    packing = isinstance(error, SerializationError) or (
        isinstance(error, TaskExecutionFailed) and error.word == ErrorCode.SERIALIZATION
    )
    if packing and dill_there and dill_there != dill_here:
        error.add_note(f"The worker has dill {dill_there}, and here is dill {dill_here}.")
    ours_there = str(details.get("chamberlain_version") or "")
    if packing and ours_there and ours_there != version():
        error.add_note(
            f"The worker has Chamberlain {ours_there}, and here is Chamberlain {version()}."
        )
