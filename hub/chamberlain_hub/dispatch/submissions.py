"""Takes a submit: checks it, finds its user endpoint, stores its tasks, and sends them off.

In two halves, so that nobody holds a thread while a manager decides: `prepare` answers with the
verdict to wait for, if there is one, and `accept` stores. For a user endpoint that serves
already, both run one behind the other.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from chamberlain_hub.dispatch.commands import Verdict
from chamberlain_hub.dispatch.dispatcher import Dispatcher
from chamberlain_hub.dispatch.recent import Recent
from chamberlain_hub.dispatch.reconcile import is_leaving
from chamberlain_hub.domain.access import may_submit, may_use
from chamberlain_hub.domain.endpoint import Endpoint, UserEndpoint
from chamberlain_hub.domain.endpoint_life import holds_tasks, is_live, is_online
from chamberlain_hub.domain.errors import EndpointNotFoundError, FunctionNotFoundError
from chamberlain_hub.domain.function import Function
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.domain.options import check_options
from chamberlain_hub.domain.policy import Policy
from chamberlain_hub.domain.task import NewTask, TaskRow
from chamberlain_hub.domain.user_endpoint_id import derive, site_digest
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.port import BrokerError
from chamberlain_wire.ids import EndpointId, FunctionId, IdentityId, TaskGroupId, TaskId, new_id
from chamberlain_wire.states import TaskState

log = logging.getLogger(__name__)

_ENDPOINT_S: Final = 1.0
_FUNCTION_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for; ids are parsed, nothing else is checked.

    Attributes:
        payloads: packed arguments for each task, by function.
        task_ids: ids in the order of `payloads`; None: make them.
        group: None: make one.
        create_queue: the caller will read results from the broker.
        resources: `resource_specification` as JSON text.
        source: network address that the request came from.
    """

    endpoint: EndpointId
    payloads: Mapping[FunctionId, Sequence[str]]
    task_ids: Mapping[FunctionId, Sequence[TaskId]] | None = None
    group: TaskGroupId | None = None
    create_queue: bool = False
    options: dict[str, Any] | None = None
    runtime: dict[str, Any] | None = None
    resources: str = "null"
    serializers: tuple[str, ...] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submit that was checked, and whose user endpoint is known.

    Attributes:
        verdict: wait for it, with a limit, before `accept`; None: no need to.
        live: the user endpoint serves.
    """

    principal: Principal
    submission: Submission
    group: TaskGroupId
    user_endpoint: UserEndpoint
    verdict: Future[Verdict | None] | None
    live: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was stored: the ids of tasks by function, in the order of their payloads."""

    group: TaskGroupId
    user_endpoint: EndpointId
    tasks: Mapping[FunctionId, Sequence[TaskId]]


class Submissions:
    """The hot path of the hub. Thread-safe; both methods block for some milliseconds.

    Attributes:
        endpoints, functions: as they were a moment ago; whoever changes one calls `forget`.
    """

    def __init__(
        self, store: Store, dispatcher: Dispatcher, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self.endpoints: Recent[Endpoint] = Recent(store.endpoint, for_s=_ENDPOINT_S)
        self.functions: Recent[Function] = Recent(store.function, for_s=_FUNCTION_S, most=256)
        self._policies: Recent[Policy] = Recent(store.policy, for_s=_ENDPOINT_S)
        # Whose a group is never changes.
        self._groups: Recent[IdentityId] = Recent(store.group_owner, for_s=math.inf)

    def prepare(self, principal: Principal, submission: Submission) -> Prepared:
        """Check `submission` and make sure that somebody will run it. Stores no task.

        Raises:
            ChamberlainError: why it is refused, in `public`.
        """
        now = self._clock()
        endpoint = self._endpoint(principal, submission.endpoint)
        functions = [self._function(one) for one in submission.payloads]
        may_submit(principal, endpoint, functions, now, self._policy(endpoint))
        options = check_options(submission.options, endpoint.schema)
        group = self._group(principal, submission)
        owner = principal.identity.id
        user_endpoint = self._store.ensure_user_endpoint(
            UserEndpoint(
                id=derive(
                    endpoint.id,
                    owner,
                    options,
                    submission.runtime,
                    site_digest(endpoint.last_state),
                ),
                endpoint=endpoint.id,
                identity=owner,
                options=options,
                runtime=submission.runtime,
                created_at=now,
            )
        )
        live = is_live(user_endpoint, now)
        verdict = None
        # One that may have taken tasks with it is settled first, and then asked for (the sweep).
        if not (live or is_leaving(user_endpoint, now) or holds_tasks(user_endpoint)):
            verdict = self._start(principal, submission, endpoint, user_endpoint)
        return Prepared(principal, submission, group, user_endpoint, verdict, live)

    def accept(self, prepared: Prepared) -> Accepted:
        """Store the tasks, publish them, and return their ids.

        A repeat with the same task ids stores and publishes nothing, and is answered alike.

        Raises:
            TaskIdTakenError: an id is somebody else's task; nothing was stored.
        """
        submission, user_endpoint = prepared.submission, prepared.user_endpoint
        owner = prepared.principal.identity.id
        if submission.create_queue:
            self._make_result_queue(prepared)
        ids = submission.task_ids or {
            function: [TaskId(new_id()) for _ in payloads]
            for function, payloads in submission.payloads.items()
        }
        new = [
            NewTask(
                task_id,
                prepared.group,
                function,
                payload,
                submission.resources,
                submission.serializers,
            )
            for function, payloads in submission.payloads.items()
            for task_id, payload in zip(ids[function], payloads, strict=True)
        ]
        now = self._clock()
        fresh = self._store.add_tasks(
            owner, user_endpoint.endpoint, user_endpoint.id, prepared.group, new, now
        )
        self._dispatcher.outbox.send(_row(task, prepared, now) for task in new if task.id in fresh)
        if not prepared.live:
            # Its start may have come to an end while these tasks were not stored yet.
            self._dispatcher.sweep.tend(user_endpoint.id)
        return Accepted(prepared.group, user_endpoint.id, ids)

    def _endpoint(self, principal: Principal, endpoint_id: EndpointId) -> Endpoint:
        endpoint = self.endpoints.get(endpoint_id)
        if endpoint is None or not may_use(principal, endpoint):
            raise EndpointNotFoundError(public=f"There is no endpoint {endpoint_id}.")
        return endpoint

    def _function(self, function_id: FunctionId) -> Function:
        function = self.functions.get(function_id)
        if function is None:
            raise FunctionNotFoundError(public=f"There is no function {function_id}.")
        return function

    def _policy(self, endpoint: Endpoint) -> Policy | None:
        asked = endpoint.authentication_policy
        return None if asked is None else self._policies.get(asked.lower())

    def _group(self, principal: Principal, submission: Submission) -> TaskGroupId:
        owner = principal.identity.id
        group = submission.group
        if group is None and submission.task_ids:
            # A repeat of a submit that had no group yet: the answer must be the same.
            known = self._store.task(next(iter(submission.task_ids.values()))[0])
            group = known.group if known is not None and known.owner == owner else None
        group = group or TaskGroupId(new_id())
        if self._groups.get(group) != owner:
            self._store.ensure_group(group, owner)
        return group

    def _start(
        self,
        principal: Principal,
        submission: Submission,
        endpoint: Endpoint,
        user_endpoint: UserEndpoint,
    ) -> Future[Verdict | None] | None:
        verdict = self._dispatcher.commands.ensure_started(
            user_endpoint, principal, submission.source
        )
        # Nobody would answer. The command waits in the queue, and the tasks with it.
        away = endpoint.last_heartbeat_at is not None and not is_online(endpoint, self._clock())
        return None if away and not verdict.done() else verdict

    def _make_result_queue(self, prepared: Prepared) -> None:
        try:
            self._dispatcher.queues.group(prepared.principal.identity.id, prepared.group)
        except BrokerError as error:
            # The outbox makes it when it sends the tasks.
            log.warning(
                "result queue not made yet",
                extra={"event": "group.no_queue", "reason": str(error)},
            )


def _row(task: NewTask, prepared: Prepared, now: float) -> TaskRow:
    return TaskRow(
        id=task.id,
        group=task.group,
        function=task.function,
        endpoint=prepared.user_endpoint.endpoint,
        user_endpoint=prepared.user_endpoint.id,
        owner=prepared.principal.identity.id,
        state=TaskState.RECEIVED,
        payload=task.payload,
        resources=task.resources,
        serializers=task.serializers,
        submitted_at=now,
        published_at=None,
        completed_at=None,
        result=None,
    )
