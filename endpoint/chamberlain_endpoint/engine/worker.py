"""Runs one task, in whatever process or thread it finds itself. This module goes to nodes.

Whatever user code does (raise, exit, print, return something that cannot travel) ends as an
encoded Result; only the death of the process itself is the engine's business.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from chamberlain_endpoint.engine import capture, public_names, thread_output, time_limit
from chamberlain_endpoint.engine.advice import advice_on
from chamberlain_endpoint.engine.family import TASK_VARIABLE
from chamberlain_endpoint.engine.meter import Meter, usage
from chamberlain_endpoint.engine.port import Job, Rules
from chamberlain_endpoint.engine.slots import Slots, joined
from chamberlain_endpoint.rendered.task_timeout import BadLimitError
from chamberlain_wire.codec import encode
from chamberlain_wire.details import EXCEPTION, OUTPUT, PROTOCOL, USAGE, Output, Usage
from chamberlain_wire.errors import ErrorCode, SerializationError
from chamberlain_wire.limits import MAX_RESULT_BYTES
from chamberlain_wire.messages import ErrorDetails, Result, TaskTransition
from chamberlain_wire.serialize import (
    Strategy,
    pack_exception,
    pack_result,
    parse_allowed,
    unpack_task,
)
from chamberlain_wire.states import TaskState

MAX_ERROR_CHARS: Final = 64 * 1024
"""Longest error text; the middle of a longer one is left out."""

SANDBOX_VARIABLE: Final = "GC_TASK_SANDBOX_DIR"

_OUR_FILES: Final = (__file__, time_limit.__file__)

_jobs: Final = msgspec.msgpack.Decoder(Job)
_packer: Final = msgspec.msgpack.Encoder()


def pack_job(job: Job) -> bytes:
    """Return `job` as it goes to another process; `run_packed` reads it there."""
    return _packer.encode(job)


def run_packed(packed: bytes) -> bytes:
    """Run the job in `packed` in this process, which runs one job at a time.

    Raises:
        Recalled: it was cancelled before it came here, and was not run.
    """
    job = _jobs.decode(packed)
    pool = _pool(os.getpid())
    if pool is None:
        return _run_within_limit(job)
    slots, rank = pool
    slots.begin(rank, job.task_id)
    try:
        return _run_within_limit(job)
    finally:
        slots.end(rank)


@cache
def _pool(_pid: int) -> tuple[Slots, int] | None:
    return joined()


def _run_within_limit(job: Job) -> bytes:
    try:
        limit = time_limit.of(job)
    except BadLimitError as error:
        return _unrun(job, _error(error.code, error.public), time.time_ns())
    return run(job, own_process=True) if limit is None else _run_limited(job, limit)


def _run_limited(job: Job, limit: time_limit.Limit) -> bytes:
    began_ns = time.time_ns()
    if job.rules.output_bytes:
        # Before the fork: what the task printed is read here when it is killed.
        capture.of_process().begin()
    answer = time_limit.in_child(partial(run, job, own_process=True), limit)
    if isinstance(answer, bytes):
        return answer
    most_bytes = job.rules.output_bytes
    return _result(
        job,
        _error(ErrorCode.TASK_TIMEOUT, time_limit.TimeIsUpError(limit).public),
        began_ns,
        usage(began_ns, time.time_ns(), cpu_s=answer.cpu_s, peak_kib=answer.peak_kib),
        capture.of_process().end(most_bytes) if most_bytes else Output(captured=False),
    )


def refused(packed: bytes, said: str) -> bytes:
    """Return the Result of a packed job that cannot run here; `said` tells the caller why."""
    return _unrun(
        _jobs.decode(packed), _error(ErrorCode.SEMANTICALLY_INVALID, said), time.time_ns()
    )


def task_of(packed: bytes) -> str:
    """Return the id of the task of a packed job."""
    return _jobs.decode(packed).task_id


def overdue(job: Job, limit: time_limit.Limit, began_ns: int) -> bytes:
    """Return the Result of a job whose thread did not end with its time."""
    error = time_limit.TimeIsUpError(
        limit,
        "It was told to end and has not; a thread cannot be killed, so its function may go on.",
    )
    return _unrun(job, _error(error.code, error.public), began_ns)


def run(job: Job, *, own_process: bool) -> bytes:
    """Run `job` and return its encoded Result. Never raises.

    Args:
        own_process: nobody else is in this process while the job runs, so its environment
            and working folder may be the job's.
    """
    began_ns = time.time_ns()
    meter = Meter(own_process=own_process)
    with _caught(job.rules.output_bytes, own_process=own_process) as printed:
        try:
            if own_process:
                _settle_in(job)
                fields = _outcome(job)
            else:
                fields = _outcome_in_thread(job)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
            fields = _failed(error)
    used = meter.read(began_ns, time.time_ns())
    return _result(job, fields, began_ns, used, printed[0])


@contextmanager
def _caught(most_bytes: int, *, own_process: bool) -> Iterator[list[Output]]:
    """Catch what is printed; the list has it afterwards."""
    if not most_bytes:
        yield [Output(captured=False)]
    elif own_process:
        printed: list[Output] = []
        output = capture.of_process()
        output.begin()
        yield printed
        printed.append(output.end(most_bytes))
    else:
        with thread_output.caught(most_bytes) as printed:
            yield printed


def _result(
    job: Job, fields: dict[str, Any], began_ns: int, used: Usage, printed: Output | None
) -> bytes:
    ours: dict[str, Any] = {USAGE: used}
    if printed is not None:
        ours[OUTPUT] = printed
    exception = fields.pop(EXCEPTION, None)
    if exception is not None:
        ours[EXCEPTION] = exception
    ended_ns = round(used.ended_at * 1e9)
    result = Result(
        task_id=job.task_id,
        details=_facts(job.rules.endpoint_id) | ours,
        task_statuses=[
            TaskTransition(timestamp=began_ns, state=TaskState.EXECUTION_START, actor="worker"),
            TaskTransition(timestamp=ended_ns, state=TaskState.EXECUTION_END, actor="worker"),
        ],
        **fields,
    )
    return encode(result)


def _unrun(job: Job, fields: dict[str, Any], began_ns: int) -> bytes:
    used = usage(began_ns, time.time_ns(), cpu_s=0.0, peak_kib=0)
    return _result(job, fields, began_ns, used, None)


def _outcome_in_thread(job: Job) -> dict[str, Any]:
    # The environment was read when the user endpoint started.
    limit = time_limit.of(job, {})
    if limit is None:
        return _outcome(job)
    outcome: dict[str, Any] = time_limit.in_thread(partial(_outcome, job), limit)
    return outcome


def _outcome(job: Job) -> dict[str, Any]:
    public_names.offer()
    function, args, kwargs = unpack_task(job.buffer, _allowed(job.rules))
    packed = pack_result(function(*args, **kwargs), job.serializers)
    size = len(packed) if packed.isascii() else len(packed.encode())
    if size > MAX_RESULT_BYTES:
        return _error(
            ErrorCode.RESULT_TOO_LARGE,
            # Users of the public SDK look for this word in the text: it shows them no code.
            f"{ErrorCode.RESULT_TOO_LARGE}: The result has {size} bytes when packed; the limit is "
            f"{MAX_RESULT_BYTES}. Return less, or write it to a file.",
        )
    return {"data": packed}


def _failed(error: BaseException) -> dict[str, Any]:
    if isinstance(error, SerializationError):
        # Its own sentence says what to do; our frames would only hide it.
        return _error(ErrorCode.SERIALIZATION, error.public, advice_on(error))
    if isinstance(error, time_limit.TimeIsUpError):
        return _error(ErrorCode.TASK_TIMEOUT, error.public)
    # Our own frames, from `run` to the user's function, tell the user nothing.
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in _OUR_FILES:
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001 - the user's __str__ runs in there
        text = f"{type(error).__name__} (its text could not be made)"
    fields = _error(ErrorCode.REMOTE_EXECUTION, _cut(text), advice_on(error))
    packed = pack_exception(error)
    if packed is not None and len(packed) <= MAX_RESULT_BYTES:
        fields[EXCEPTION] = packed
    return fields


def _error(code: ErrorCode, text: str, advice: str = "") -> dict[str, Any]:
    last_line = text.rstrip().rpartition("\n")[2]
    if advice:
        text = text.rstrip("\n") + advice
    return {"data": text, "error_details": ErrorDetails(code=code, user_message=last_line)}


def _cut(text: str) -> str:
    if len(text) <= MAX_ERROR_CHARS:
        return text
    half = MAX_ERROR_CHARS // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _settle_in(job: Job) -> None:
    os.environ[TASK_VARIABLE] = job.task_id
    if job.rules.working_dir is None:
        return
    folder = Path(job.rules.working_dir)
    if job.rules.sandbox:
        folder = folder / job.task_id
        os.environ[SANDBOX_VARIABLE] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)


@cache
def _allowed_of(names: tuple[str, ...]) -> frozenset[Strategy] | None:
    return parse_allowed(names)


def _allowed(rules: Rules) -> frozenset[Strategy] | None:
    return None if rules.allowed_serializers is None else _allowed_of((*rules.allowed_serializers,))


@cache
def _facts(endpoint_id: str) -> dict[str, Any]:
    return {
        "os": platform.platform(),
        "python_version": platform.python_version(),
        "dill_version": _version("dill"),
        "chamberlain_version": _version("chamberlain"),
        "protocol": PROTOCOL,
        "python": sys.executable,
        "endpoint_id": endpoint_id,
        "hostname": platform.node(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def warm() -> None:
    """Do before the first task what the first task would wait for."""
    _facts("")


def knock(_buffer: bytes) -> tuple[str, int, str | None]:
    """Answer from a worker that has just connected: its host, process id and our version there."""
    warm()
    return platform.node(), os.getpid(), _version("chamberlain")
