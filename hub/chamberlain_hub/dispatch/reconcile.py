"""What to do for a user endpoint that has open tasks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import MAX_FAILURES, is_live, may_restart
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.states import UserEndpointState

LEAVING_S: Final = 10.0
"""How long a user endpoint that said goodbye may take to be gone before we ask for another."""


class Do(StrEnum):
    """The one thing to do next."""

    WAIT = "wait"
    ASK = "ask"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and, for `FAIL`, what to tell the tasks' owner."""

    do: Do
    code: str = ""
    message: str = ""


_WAIT: Final = Step(Do.WAIT)


def next_step(
    user_endpoint: UserEndpoint, *, now: float, in_flight: bool, manager_online: bool
) -> Step:
    """Return what to do for the open tasks of `user_endpoint`.

    Args:
        now: UTC seconds.
        in_flight: a start was asked, and may still be answered.
        manager_online: a command sent now will be read.
    """
    if in_flight or is_live(user_endpoint, now) or is_leaving(user_endpoint, now):
        return _WAIT
    if user_endpoint.state in (UserEndpointState.REFUSED, UserEndpointState.FAILED):
        return Step(
            Do.FAIL,
            user_endpoint.error_code or ErrorCode.START_FAILED,
            user_endpoint.error_message or "The user endpoint could not be started.",
        )
    if not may_restart(user_endpoint):
        last = f" Its last words: {user_endpoint.error_message}" * bool(user_endpoint.error_message)
        return Step(
            Do.FAIL,
            ErrorCode.TASK_LOST,
            f"The user endpoint ended unexpectedly {MAX_FAILURES} times in a row without "
            f"finishing a task.{last}",
        )
    # A command that nobody reads only grows old; the manager's first heartbeat wakes us.
    return Step(Do.ASK) if manager_online else _WAIT


def is_leaving(user_endpoint: UserEndpoint, now: float) -> bool:
    """Tell whether it said goodbye just now: its end will be told, and then a start is asked.

    A start asked before would find the old process still there and come to nothing.
    """
    return (
        user_endpoint.state is UserEndpointState.STOPPING
        and user_endpoint.moved_at is not None
        and now - user_endpoint.moved_at < LEAVING_S
    )
