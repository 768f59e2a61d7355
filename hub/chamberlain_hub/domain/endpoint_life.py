"""The life of one user endpoint as the hub sees it, as a table. Pure.

Evidence wins: a heartbeat is a proof of life in every state. An announcement about a start
counts only while that start is the one we wait for.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from chamberlain_hub.domain.endpoint import Endpoint, UserEndpoint
from chamberlain_hub.domain.user_endpoint_id import site_digest
from chamberlain_wire.errors import IllegalMoveError
from chamberlain_wire.states import UserEndpointState

State = UserEndpointState


class UserEndpointEvent(StrEnum):
    """What the hub does to, or hears of, a user endpoint.

    `ADMITTED`, `REFUSED`, `STARTED`, `FAILED` and `ENDED` are the words of the manager's
    events; an `ended` that is not clean is `CRASHED` here.
    """

    ASKED = "asked"
    ADMITTED = "admitted"
    REFUSED = "refused"
    STARTED = "started"
    HEARTBEAT = "heartbeat"
    LEAVING = "leaving"
    ENDED = "ended"
    CRASHED = "crashed"
    FAILED = "failed"


Event = UserEndpointEvent

MAX_FAILURES: Final = 3
"""Unclean ends in a row, without a finished task, after which the hub stops asking."""

LOST_AFTER_PERIODS: Final = 3
"""Heartbeat periods without a heartbeat after which a process no longer counts as alive."""

SILENT_START_S: Final = 20.0
"""How long a start at a manager that gives no verdicts may take until the first heartbeat.

Then it is asked again, which disturbs nothing that is still starting. The public agent drops a
start, without a word, that comes while it has not yet noticed the end of the one before.
"""

MOST_UNANSWERED: Final = 9
"""Starts in a row that nobody answered after which the tasks that wait for one end."""

MOST_RESTARTS: Final = 9
"""Starts in a row on behalf of waiting tasks, none of which ended a task, after which the tasks
that wait for one end. More than `MAX_FAILURES`: whoever ends on purpose may have a reason."""

_WAITING: Final = (State.ASKED, State.ADMITTED)
_ALIVE: Final = (State.SERVING, State.STOPPING)

_MOVES: Final = MappingProxyType(
    {
        **{(state, Event.ASKED): State.ASKED for state in State},
        **{(state, Event.HEARTBEAT): State.SERVING for state in State},
        (State.ASKED, Event.ADMITTED): State.ADMITTED,
        (State.ASKED, Event.STARTED): State.ADMITTED,
        (State.ADMITTED, Event.STARTED): State.ADMITTED,
        **{(state, Event.REFUSED): State.REFUSED for state in _WAITING},
        **{(state, Event.FAILED): State.FAILED for state in _WAITING},
        # It had served before it failed, so it may well serve again.
        **{(state, Event.FAILED): State.GONE for state in _ALIVE},
        (State.SERVING, Event.LEAVING): State.STOPPING,
        (State.STOPPING, Event.LEAVING): State.STOPPING,
        **{(state, Event.ENDED): State.GONE for state in (*_WAITING, *_ALIVE)},
        **{(state, Event.CRASHED): State.GONE for state in (*_WAITING, *_ALIVE)},
    }
)

_UNCLEAN: Final = frozenset({Event.FAILED, Event.CRASHED})
_ENDS: Final = frozenset({Event.ENDED, Event.CRASHED})


def move(state: UserEndpointState, event: UserEndpointEvent) -> UserEndpointState:
    """Return the state that follows `state` when `event` is seen.

    Raises:
        IllegalMoveError: the table has no such move: a late or repeated report. Change
            nothing.
    """
    try:
        return _MOVES[state, event]
    except KeyError:
        raise IllegalMoveError(state, event) from None


def is_stale(now: UserEndpoint, command: str | None, event: UserEndpointEvent) -> bool:
    """Tell whether a report about the start `command` speaks of an earlier start, and of that
    alone.

    Only while a start is in flight: once the process serves, its end is its end, also when
    it had joined a start that was asked for before. An admitted start may have joined it too,
    so an end counts from then on: to ask once more disturbs nothing that is still starting.
    """
    if command is None or command == now.command:
        return False
    return now.state is State.ASKED or (now.state is State.ADMITTED and event not in _ENDS)


def is_unclean(event: UserEndpointEvent) -> bool:
    """Tell whether `event` counts towards `MAX_FAILURES`."""
    return event in _UNCLEAN


def is_live(user_endpoint: UserEndpoint, now: float) -> bool:
    """Tell whether tasks sent to it now will be taken, as far as one can know (UTC seconds)."""
    return user_endpoint.state is State.SERVING and _heard_lately(
        user_endpoint.last_heartbeat_at, user_endpoint.heartbeat_period_s, now
    )


def holds_tasks(user_endpoint: UserEndpoint) -> bool:
    """Tell whether tasks may go with it when it ends: it served, and it keeps no ledger.

    Our own say that they keep one; those of the public agent say nothing.
    """
    return (
        user_endpoint.state in _ALIVE
        and user_endpoint.last_heartbeat_at is not None
        and user_endpoint.last_state.get("ledger") is not True
    )


def gives_verdicts(endpoint: Endpoint) -> bool:
    """Tell whether its manager answers every start, as ours do; the public agent does not."""
    return bool(site_digest(endpoint.last_state))


def is_online(endpoint: Endpoint, now: float) -> bool:
    """Tell whether the endpoint's manager was heard of lately and did not say goodbye."""
    return _heard_lately(endpoint.last_heartbeat_at, endpoint.heartbeat_period_s, now)


def is_starting(user_endpoint: UserEndpoint, now: float, timeout_s: float) -> bool:
    """Tell whether a start was asked less than `timeout_s` ago and is not decided yet."""
    asked_at = user_endpoint.asked_at
    return user_endpoint.state in _WAITING and asked_at is not None and now - asked_at < timeout_s


def may_restart(user_endpoint: UserEndpoint) -> bool:
    """Tell whether it is worth asking for another start."""
    return user_endpoint.failures < MAX_FAILURES


def _heard_lately(last_at: float | None, period_s: float, now: float) -> bool:
    return last_at is not None and period_s > 0 and now - last_at < LOST_AFTER_PERIODS * period_s
