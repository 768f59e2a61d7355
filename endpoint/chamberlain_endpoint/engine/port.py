"""What the user endpoint asks of an engine.

The user endpoint keeps the tasks that wait and hands over only what can run now (`capacity`,
and a little ahead), because a task that was handed over counts as started: after a crash it
is reported lost rather than run a second time. What happens in the engine comes back through
one callback as one of five reports.

`memory.ManualEngine` is the fake; `tests/contract/test_engine.py` holds all to these promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.ids import TaskId
from chamberlain_wire.limits import TASK_OUTPUT_BYTES


class EngineStartError(ChamberlainError):
    """The engine cannot be started as configured. End the user endpoint; a repeat fails alike."""

    code = ErrorCode.START_FAILED
    public = "The engine of the user endpoint could not be started."


class JobRefusedError(ChamberlainError):
    """The engine cannot run this job, and never will. End the task with `public`."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "The engine cannot run this task."


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all jobs of one user endpoint, wherever they run.

    Attributes:
        endpoint_id: id of the user endpoint.
        working_dir: absolute folder the tasks run in; None leaves the worker where it is.
        sandbox: give each task a folder of its own below `working_dir`.
        allowed_serializers: names of the strategies that may be read; None is all.
        output_bytes: how much of the end of each output stream is kept; 0 captures nothing.
        timeout_s: no task may take longer; None is no limit.
    """

    endpoint_id: str
    working_dir: str | None = None
    sandbox: bool = False
    allowed_serializers: list[str] | None = None
    output_bytes: int = TASK_OUTPUT_BYTES
    timeout_s: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One task as it goes to a worker; a process boundary may lie between.

    Attributes:
        buffer: function and payload, packed (`chamberlain_wire.serialize`).
        resources: the caller's resource specification, or None.
        serializers: names of the strategies to pack the result with; None is the default.
        timeout_s: how long the caller lets it run; None is as long as the rules do.
    """

    task_id: TaskId
    buffer: str
    rules: Rules
    resources: dict[str, Any] | None = None
    serializers: list[str] | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The function ran to its end, well or not: `body` is the encoded Result message."""

    task_id: TaskId
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker went away under the task; whether the function ran is not known.

    Attributes:
        reason: a sentence for the caller; whether it runs again is not the engine's to say.
    """

    task_id: TaskId
    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The task was not started, for sure: there was no worker any more. Hand it over again."""

    task_id: TaskId


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """`Engine.capacity` has another value now."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Nothing that waits will get a worker: end it with `reason`, a sentence for the caller.

    Tasks that come later may be tried again.
    """

    reason: str


Report = Finished | Lost | Returned | CapacityChanged | Broken
OnReport = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a heartbeat says of the engine.

    Attributes:
        workers: workers that are connected now.
        idle: those without a task.
        running: tasks handed over and not ended.
        more: fields of the public heartbeat that this kind of engine has.
    """

    workers: int
    idle: int
    running: int
    more: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Runs jobs. All methods are called by one thread; reports come from any."""

    def start(self, on_report: OnReport) -> None:
        """Get ready in the background and return at once.

        Raises:
            EngineStartError: it is known already that it cannot work.
        """

    @property
    def capacity(self) -> int:
        """Jobs that can run at this moment at the same time; 0 until a worker is there."""

    def want(self, waiting: int) -> None:
        """Tell how many tasks wait for capacity, so that the engine can get more of it."""

    def submit(self, job: Job) -> None:
        """Run `job`; exactly one `Finished`, `Lost` or `Returned` follows.

        Raises:
            JobRefusedError: it cannot run here, whatever happens.
        """

    def cancel(self, task_id: TaskId) -> bool:
        """End the task, with all that it started, if that is possible here.

        Its report still comes, so that there is always exactly one: `Lost`, `Returned` when it
        had not started, `Finished` when it had just ended.

        Returns:
            False when it goes on to its own end.
        """

    def status(self) -> EngineStatus:
        """Return what to tell in a heartbeat. Never blocks."""

    def stop(self) -> None:
        """End everything that was started, running jobs too, and return when it is gone.

        Safe to call twice, and when `start` failed. No report comes afterwards.
        """
