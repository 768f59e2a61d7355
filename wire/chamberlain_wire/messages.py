"""One frozen model per message that crosses the broker.

Each says who sends it, who reads it, and what a repeat means. Unknown fields are ignored,
so either side may be older. Field names are those of the public clients; what we added is
marked *extension* and is always optional.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from chamberlain_wire.states import TaskState


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What all messages have: a name on the wire."""

    message_type: ClassVar[str]


class TaskTransition(msgspec.Struct, frozen=True, kw_only=True):
    """When a task entered a state, and who saw it.

    Attributes:
        timestamp: UTC, nanoseconds since the epoch.
        actor: `web`, `interchange`, `manager`, ...: the words of the public clients.
    """

    timestamp: int
    state: str
    actor: str


class Task(Message, frozen=True, kw_only=True):
    """Run a function. Sent by the hub, read by the user endpoint.

    A repeat (the same `task_id`) is harmless: the user endpoint's ledger knows it.

    Attributes:
        task_buffer: function code and payload, packed one behind the other.
    """

    message_type: ClassVar[str] = "task"

    task_id: str
    task_buffer: str
    container_id: str | None = None
    container: dict[str, Any] | None = None


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task failed: a stable word, and a sentence for the caller."""

    code: str
    user_message: str


# What is empty is left out: the public SDK warns of each field that it does not know.
class Result(Message, frozen=True, kw_only=True, omit_defaults=True):
    """How a task ended. Sent by the user endpoint, stored and forwarded by the hub, read by
    the SDK. A repeat changes nothing: a task ends once.

    Attributes:
        data: the packed result, or the error text when `error_details` is set.
        details: facts of the worker (`os`, `python_version`, `dill_version`,
            `endpoint_id`, `hostname`, ...).
            What we add to them: `chamberlain_wire.details`.
        exception: where older workers of ours put the packed exception. Only read.
        usage: where older workers of ours put what the task used. Only read.
    """

    message_type: ClassVar[str] = "result"

    task_id: str
    data: str
    details: dict[str, Any] | None = None
    error_details: ErrorDetails | None = None
    task_statuses: list[TaskTransition] | None = None
    exception: str | None = None
    usage: dict[str, Any] | None = None

    @property
    def state(self) -> TaskState:
        """`CANCELLED`, `FAILED` or `SUCCESS`."""
        if self.error_details is None:
            return TaskState.SUCCESS
        if self.error_details.code == "TASK_CANCELLED":
            return TaskState.CANCELLED
        return TaskState.FAILED


EventKind = Literal["admitted", "refused", "failed", "started", "ended"]


class EndpointEvent(msgspec.Struct, frozen=True, kw_only=True):
    """*Extension*: what the manager decided or saw of one user endpoint.

    `admitted` (mapped, rendered, will be started) and `refused` are the verdict that submit
    waits for. `failed`: it ended before it served. `ended`: it served, and is gone.
    A repeat changes nothing.

    Attributes:
        command: id of the command that it answers; empty when none was asked.
        code: word of `ErrorCode`; empty when nothing is wrong.
        message: sentence for the caller; empty when nothing is wrong.
        clean: for `ended`: it left on purpose (idle, asked to stop).
    """

    kind: EventKind
    user_endpoint: str
    command: str = ""
    code: str = ""
    message: str = ""
    clean: bool = True


class StatusReport(Message, frozen=True, kw_only=True):
    """A heartbeat. Sent by managers and user endpoints, read by the hub. The newest wins.

    Attributes:
        global_state: the open dictionary of the public clients; `heartbeat_period`
            (seconds, 0 = shutting down) is always there.
        task_statuses: task id -> transitions since the last report.
        events: *extension*: sent by our manager only; handled in order, each once.
        roll: *extension*: sent by our user endpoint when its link comes up: tell me what was
            cancelled meanwhile, in a `ControlOrder` with this word.
    """

    message_type: ClassVar[str] = "ep_status_report"

    endpoint_id: str
    global_state: dict[str, Any] = {}
    task_statuses: dict[str, list[TaskTransition]] = {}
    ep_status_report: dict[str, Any] | None = None
    events: list[EndpointEvent] = []
    roll: str = ""

    @property
    def seen(self) -> dict[str, Any]:
        """The global state, under whichever of its two names it came."""
        return self.global_state or self.ep_status_report or {}


class ControlOrder(Message, frozen=True, kw_only=True):
    """*Extension*: end these tasks. Sent by the hub, read by the user endpoint.

    A repeat is harmless. Each task is answered by a Result with the code TASK_CANCELLED, or by
    the one that it had already; the hub knows the task as cancelled before it sends this.

    Attributes:
        cancel: ids of tasks, which may be unknown, waiting, running or at their end.
        roll: the word of the report that this answers: with this message, all that was
            cancelled before the report has been told. Empty: not an answer.
    """

    message_type: ClassVar[str] = "control_order"

    cancel: list[str] = []
    roll: str = ""


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach one queue or exchange, as registration answers it.

    Attributes:
        connection_url: with the principal's own user and password. A secret.
        queue_publish_kwargs: for queues that are published to: exchange, routing_key,
            mandatory, properties.
    """

    connection_url: str
    exchange: str
    queue: str
    queue_publish_kwargs: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"QueueInfo(exchange={self.exchange!r}, queue={self.queue!r}, connection_url=***)"


class QueueCredentials(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a user endpoint needs of the broker.

    Attributes:
        control_queue_info: *extension*: where a `ControlOrder` comes; only for agents that
            announce that they read it.
    """

    endpoint_id: str
    task_queue_info: QueueInfo
    result_queue_info: QueueInfo
    heartbeat_queue_info: QueueInfo
    control_queue_info: QueueInfo | None = None


class StartKwargs(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `cmd_start_endpoint`."""

    name: str
    user_opts: dict[str, Any] | None
    user_runtime: dict[str, Any] | None
    amqp_creds: QueueCredentials


class StartCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Start a user endpoint. Sent by the hub, read by the manager; plain JSON.

    A repeat is refused by the id inside `assertion`. The identity fields beside it are for
    the public agent; ours believes the assertion alone.

    Attributes:
        globus_identity_set: identity documents (sub, id, username, name, email, ...).
        assertion: *extension*: see `chamberlain_wire.assertion`.
    """

    command: str
    kwargs: StartKwargs
    args: list[Any] = []
    globus_effective_identity: str = ""
    globus_identity_set: list[dict[str, Any]] = []
    globus_username: str = ""
    assertion: str = ""
