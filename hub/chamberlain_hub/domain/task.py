"""Tasks, from submit to result, and broker credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from chamberlain_wire.ids import EndpointId, FunctionId, IdentityId, TaskGroupId, TaskId
from chamberlain_wire.messages import Result
from chamberlain_wire.states import CancelOutcome, TaskState


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that a caller submits.

    Attributes:
        payload: packed arguments.
        resources: `resource_specification` as JSON text; `null` when there is none.
        serializers: strategies that the caller accepts for the result; None: any.
    """

    id: TaskId
    group: TaskGroupId
    function: FunctionId
    payload: str
    resources: str = "null"
    serializers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as the hub remembers it. Times are UTC seconds.

    Attributes:
        payload: None once the task ended, and where payloads were not asked for.
        published_at: when the broker confirmed it; None: not yet.
        result: None while the task is open, and where results were not asked for.
        usage: what it used, as `chamberlain_wire.details.Usage` has it; None when nobody said,
            and where it was not asked for.
    """

    id: TaskId
    group: TaskGroupId
    function: FunctionId
    endpoint: EndpointId
    user_endpoint: EndpointId
    owner: IdentityId
    state: TaskState
    payload: str | None
    resources: str
    serializers: tuple[str, ...] | None
    submitted_at: float
    published_at: float | None
    completed_at: float | None
    result: Result | None
    usage: dict[str, Any] | None = None


class ReceivedResult(NamedTuple):
    """A result that came.

    Attributes:
        sender: the user endpoint whose routing key it came under.
        body: the message's bytes, as they came and as they will be forwarded.
    """

    sender: EndpointId
    result: Result
    body: bytes


@dataclass(frozen=True, slots=True)
class FinishedTask:
    """A task that ended, to be told to its owner.

    Attributes:
        first: it ended just now; False: a repeat, which is forwarded again because the
            hub may have died between storing and forwarding.
        body: the stored result message.
        user_endpoint: who ran it.
        code: why it did not succeed; empty when it did.
        job: batch job that it ran in, as its user endpoint says; empty: none, or not told.
    """

    task_id: TaskId
    group: TaskGroupId
    owner: IdentityId
    first: bool
    body: bytes
    user_endpoint: EndpointId
    state: TaskState
    code: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class CancelledTask:
    """A task that its owner wants cancelled.

    Attributes:
        state: `CANCELLED`, or how it had ended before.
        body: the result message that it was given; None: it had ended before, in whatever way.
    """

    id: TaskId
    group: TaskGroupId
    owner: IdentityId
    user_endpoint: EndpointId
    state: TaskState
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What is known of a cancelled task. Times are UTC seconds.

    Attributes:
        closed_at: when its user endpoint told what became of it; None: it has not.
        outcome: what that is.
    """

    asked_at: float
    closed_at: float | None
    outcome: CancelOutcome | None


@dataclass(frozen=True, slots=True)
class BrokerCredential:
    """A user that the hub made at the broker; the password is not kept.

    Attributes:
        user: name at the broker.
        kind: `uep`, `mgr` or `sdk`.
        principal: whom it is for: an endpoint's, user endpoint's or identity's id.
        command: the start command that carries it; None for other kinds.
    """

    user: str
    kind: str
    principal: str
    command: str | None
    generation: int
    created_at: float
