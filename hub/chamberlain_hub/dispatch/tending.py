"""Looks after one user endpoint that has open tasks: waits, asks for a start, or fails them."""

from __future__ import annotations

from chamberlain_hub.dispatch.commands import Commands
from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.left_behind import LeftBehind
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.dispatch.reconcile import Do, is_leaving, next_step
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import (
    MOST_RESTARTS,
    MOST_UNANSWERED,
    holds_tasks,
    is_live,
    is_online,
)
from chamberlain_hub.domain.errors import IdentityUnknownError
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, TaskId
from chamberlain_wire.states import UserEndpointState


class Tending:
    """Carries out what `reconcile` decides. Blocks; call it from the sweep's thread."""

    def __init__(
        self, ports: Ports, commands: Commands, failures: Failures, left_behind: LeftBehind
    ) -> None:
        self._store = ports.store
        self._clock = ports.clock
        self._commands = commands
        self._failures = failures
        self._left_behind = left_behind
        # Starts in a row, of which nothing was heard, at managers that were online.
        self._unanswered: dict[EndpointId, int] = {}
        # Starts in a row of what was gone, and the tasks that waited for the first of them.
        self._restarts: dict[EndpointId, tuple[int, frozenset[TaskId]]] = {}

    def tend_all(self) -> None:
        """Look after all user endpoints that have open tasks."""
        for user_endpoint in self._store.with_open_tasks():
            self._tend(user_endpoint)

    def tend_endpoint(self, endpoint: EndpointId) -> None:
        """Look after those of one endpoint."""
        for user_endpoint in self._store.with_open_tasks():
            if user_endpoint.endpoint == endpoint:
                self._tend(user_endpoint)

    def tend(self, user_endpoint_id: EndpointId) -> None:
        """Look after one user endpoint, if it has open tasks."""
        user_endpoint = self._store.user_endpoint(user_endpoint_id)
        if user_endpoint is not None and self._store.open_tasks(user_endpoint_id):
            self._tend(user_endpoint)

    def _tend(self, user_endpoint: UserEndpoint) -> None:
        now = self._clock()
        if holds_tasks(user_endpoint):
            if is_live(user_endpoint, now) or is_leaving(user_endpoint, now):
                return
            if not self._left_behind.settle(user_endpoint):
                return
            user_endpoint = self._store.user_endpoint(user_endpoint.id) or user_endpoint
        endpoint = self._store.endpoint(user_endpoint.endpoint)
        step = next_step(
            user_endpoint,
            now=now,
            in_flight=self._commands.in_flight(user_endpoint),
            manager_online=endpoint is not None and is_online(endpoint, now),
        )
        if step.do is Do.FAIL:
            self._failures.fail_open(user_endpoint.id, step.code, step.message)
        elif step.do is Do.ASK and self._is_worth_asking(user_endpoint):
            self._ask(user_endpoint)

    def _is_worth_asking(self, user_endpoint: UserEndpoint) -> bool:
        if user_endpoint.state is UserEndpointState.ASKED:
            return self._may_be_answered(user_endpoint)
        self._unanswered.pop(user_endpoint.id, None)
        return user_endpoint.state is not UserEndpointState.GONE or self._may_get_on(user_endpoint)

    def _may_be_answered(self, user_endpoint: UserEndpoint) -> bool:
        count = self._unanswered.pop(user_endpoint.id, 0) + 1
        if count < MOST_UNANSWERED:
            self._unanswered[user_endpoint.id] = count
            return True
        self._failures.fail_open(
            user_endpoint.id,
            ErrorCode.START_FAILED,
            f"The endpoint did not answer {MOST_UNANSWERED} requests to start the user endpoint. "
            "Its administrator's log may have the cause.",
        )
        return False

    def _may_get_on(self, user_endpoint: UserEndpoint) -> bool:
        """Tell whether another start may help; unclean ends are bounded by `next_step`."""
        open_now = frozenset(self._store.open_tasks(user_endpoint.id))
        count, waiting = self._restarts.pop(user_endpoint.id, (0, open_now))
        if not waiting <= open_now:
            # One of them has ended, so it does what it is started for.
            count, waiting = 0, open_now
        if count < MOST_RESTARTS:
            self._restarts[user_endpoint.id] = (count + 1, waiting)
            return True
        self._failures.fail_open(
            user_endpoint.id,
            ErrorCode.TASK_LOST,
            f"The user endpoint was started {MOST_RESTARTS} times in a row and ended each time, "
            "without an error, before it finished a task. Are its idle limits too short?",
        )
        return False

    def _ask(self, user_endpoint: UserEndpoint) -> None:
        try:
            self._commands.ask_again(user_endpoint)
        except IdentityUnknownError:
            self._failures.fail_open(
                user_endpoint.id,
                ErrorCode.FORBIDDEN,
                "The identity that submitted this task was removed from the hub.",
            )
