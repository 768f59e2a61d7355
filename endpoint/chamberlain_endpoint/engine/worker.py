"""Runs one task, in whatever process or thread it finds itself. This module goes to nodes.

Whatever user code does (raise, exit, print, return something that cannot travel) ends as an
encoded Result; only the death of the process itself is the engine's business.
"""

from __future__ import annotations

import os
import platform
import resource
import time
import traceback
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from chamberlain_endpoint.engine.family import TASK_VARIABLE
from chamberlain_endpoint.engine.port import Job, Rules
from chamberlain_endpoint.engine.slots import Slots, joined
from chamberlain_wire.codec import encode
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
        return run(job, own_process=True)
    slots, rank = pool
    slots.begin(rank, job.task_id)
    try:
        return run(job, own_process=True)
    finally:
        slots.end(rank)


@cache
def _pool(_pid: int) -> tuple[Slots, int] | None:
    return joined()


def run(job: Job, *, own_process: bool) -> bytes:
    """Run `job` and return its encoded Result. Never raises.

    Args:
        own_process: nobody else is in this process while the job runs, so its environment
            and working folder may be the job's.
    """
    began_ns = time.time_ns()
    before = _usage(own_process)
    try:
        if own_process:
            _settle_in(job)
        fields = _outcome(job)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
        fields = _failed(error)
    ended_ns = time.time_ns()
    result = Result(
        task_id=job.task_id,
        details=_facts(job.rules.endpoint_id),
        task_statuses=[
            TaskTransition(timestamp=began_ns, state=TaskState.EXECUTION_START, actor="worker"),
            TaskTransition(timestamp=ended_ns, state=TaskState.EXECUTION_END, actor="worker"),
        ],
        usage=_used(before, own_process),
        **fields,
    )
    return encode(result)


def _outcome(job: Job) -> dict[str, Any]:
    function, args, kwargs = unpack_task(job.buffer, _allowed(job.rules))
    packed = pack_result(function(*args, **kwargs), job.serializers)
    size = len(packed) if packed.isascii() else len(packed.encode())
    if size > MAX_RESULT_BYTES:
        return _error(
            ErrorCode.RESULT_TOO_LARGE,
            f"The result has {size} bytes when packed; the limit is {MAX_RESULT_BYTES}. "
            "Return less, or write it to a file.",
        )
    return {"data": packed}


def _failed(error: BaseException) -> dict[str, Any]:
    if isinstance(error, SerializationError):
        # Its own sentence says what to do; our frames would only hide it.
        return _error(ErrorCode.SERIALIZATION, error.public)
    # Our own frames, from `run` to the user's function, tell the user nothing.
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001 - the user's __str__ runs in there
        text = f"{type(error).__name__} (its text could not be made)"
    fields = _error(ErrorCode.REMOTE_EXECUTION, _cut(text))
    packed = pack_exception(error)
    if packed is not None and len(packed) <= MAX_RESULT_BYTES:
        fields["exception"] = packed
    return fields


def _error(code: ErrorCode, text: str) -> dict[str, Any]:
    last_line = text.rstrip().rpartition("\n")[2]
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
        "endpoint_id": endpoint_id,
        "hostname": platform.node(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _usage(own_process: bool) -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_SELF if own_process else resource.RUSAGE_THREAD)


def _used(before: resource.struct_rusage, own_process: bool) -> dict[str, Any]:
    after = _usage(own_process)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    used: dict[str, Any] = {"cpu_s": round(cpu_s, 6), "node": platform.node()}
    if own_process:
        used["max_rss_bytes"] = after.ru_maxrss * 1024
    job_id = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID")
    if job_id:
        used["job_id"] = job_id
    return used


def warm() -> None:
    """Do before the first task what the first task would wait for."""
    _facts("")


def knock(_buffer: bytes) -> tuple[str, int]:
    """Answer from a worker that has just connected: its host and process id."""
    warm()
    return platform.node(), os.getpid()
