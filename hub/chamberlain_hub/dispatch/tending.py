"""Looks after one user endpoint that has open tasks: waits, asks for a start, or fails them."""

from __future__ import annotations

from chamberlain_hub.dispatch.commands import Commands
from chamberlain_hub.dispatch.failures import Failures
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.dispatch.reconcile import Do, next_step
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import is_online
from chamberlain_hub.domain.errors import IdentityUnknownError
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId


class Tending:
    """Carries out what `reconcile` decides. Blocks; call it from the sweep's thread."""

    def __init__(self, ports: Ports, commands: Commands, failures: Failures) -> None:
        self._store = ports.store
        self._clock = ports.clock
        self._commands = commands
        self._failures = failures

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
        endpoint = self._store.endpoint(user_endpoint.endpoint)
        step = next_step(
            user_endpoint,
            now=now,
            in_flight=self._commands.in_flight(user_endpoint),
            manager_online=endpoint is not None and is_online(endpoint, now),
        )
        if step.do is Do.FAIL:
            self._failures.fail_open(user_endpoint.id, step.code, step.message)
        elif step.do is Do.ASK:
            self._ask(user_endpoint)

    def _ask(self, user_endpoint: UserEndpoint) -> None:
        try:
            self._commands.ask_again(user_endpoint)
        except IdentityUnknownError:
            self._failures.fail_open(
                user_endpoint.id,
                ErrorCode.FORBIDDEN,
                "The identity that submitted this task was removed from the hub.",
            )
