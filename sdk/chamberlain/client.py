"""`Client`: what the hub can be asked, one method a question."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from chamberlain import config
from chamberlain.batch import Batch
from chamberlain.cancelling import cancel_tasks
from chamberlain.errors import HubError, TaskPendingError
from chamberlain.functions import Function, registration
from chamberlain.hardware import report
from chamberlain.logs import TaskLogs, from_document
from chamberlain.outcomes import from_rest, value_of
from chamberlain.rest import Rest
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import (
    parse_endpoint_id,
    parse_function_id,
    parse_task_group_id,
    parse_task_id,
)
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import (
    DEFAULT,
    Serializer,
    pack_function,
    pack_source,
)
from chamberlain_wire.states import CancelAnswer

_AT_ONCE: Final = 500

Id = str | uuid.UUID


class Client:
    """One caller at one hub. Thread-safe; connects when it is first asked something.

    Every method raises a `HubError` of the class that fits the hub's answer, and
    `HubUnavailableError` when there was none for `patience_s` seconds.

    Args:
        hub_url: address of the hub; by default CHAMBERLAIN_HUB_URL or the configuration file.
        token: personal access token; by default CHAMBERLAIN_TOKEN or the configuration file.
        serializer: see `chamberlain.serializer`.

    Raises:
        ConfigError: address or token is missing; the text says where to put it.
    """

    def __init__(
        self,
        hub_url: str | None = None,
        token: str | None = None,
        *,
        serializer: Serializer = DEFAULT,
        patience_s: float = 60.0,
    ) -> None:
        self.serializer = serializer
        self.rest = Rest(config.load(hub_url, token), patience_s=patience_s)

    def __repr__(self) -> str:
        return f"<Client {self.rest.hub_url}>"

    def whoami(self) -> dict[str, Any]:
        """Return who the hub takes you for: `sub`, `preferred_username`, `name`, `email`,
        `identity_set`."""
        return dict(self.rest.get("/v2/oauth2/userinfo"))

    def version(self) -> dict[str, Any]:
        """Return the hub's versions."""
        return dict(self.rest.get("/v2/version", service="all"))

    def endpoints(self, *, role: str = "any") -> list[dict[str, Any]]:
        """Return the endpoints that you may use (`role="any"`) or that are yours (`"owner"`)."""
        return list(self.rest.get("/v2/endpoints", role=role))

    def endpoint_metadata(self, endpoint_id: Id) -> dict[str, Any]:
        """Return what the hub tells about an endpoint."""
        return dict(self.rest.get(f"/v2/endpoints/{parse_endpoint_id(str(endpoint_id))}"))

    def endpoint_status(self, endpoint_id: Id) -> dict[str, Any]:
        """Return `status` (`online` or `offline`) and `details`, the last heartbeat."""
        return dict(self.rest.get(f"/v2/endpoints/{parse_endpoint_id(str(endpoint_id))}/status"))

    def allowed_functions(self, endpoint_id: Id) -> dict[str, Any]:
        """Return `restricted`, and the `functions` that the endpoint allows when it is True."""
        endpoint = parse_endpoint_id(str(endpoint_id))
        return dict(self.rest.get(f"/v3/endpoints/{endpoint}/allowed_functions"))

    def register_function(
        self,
        function: Callable[..., Any],
        *,
        description: str | None = None,
        public: bool = False,
        group: Id | None = None,
        serializer: Serializer | None = None,
    ) -> str:
        """Give `function` to the hub and return its id, which anybody allowed may run.

        Args:
            description: for people who look it up.
            public: everybody at the hub may run it.
            group: id of a group whose members may run it.

        Raises:
            SerializationError: it cannot travel; the text names the cause and a way out.
        """
        using = serializer or self.serializer
        packed = Function(
            getattr(function, "__name__", type(function).__name__), pack_function(function, using)
        )
        return self._register(packed, using, description, public, group)

    def register_source_code(
        self,
        source: str,
        function_name: str,
        *,
        description: str | None = None,
        public: bool = False,
        group: Id | None = None,
    ) -> str:
        """Give the function `function_name` of the Python text `source` to the hub."""
        packed = Function(function_name, pack_source(function_name, source))
        return self._register(packed, self.serializer, description, public, group)

    def functions(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """Return your own functions, newest first, without their code."""
        return list(self.rest.get("/v3/functions", limit=str(limit))["functions"])

    def get_function(self, function_id: Id) -> dict[str, Any]:
        """Return what the hub tells about a function."""
        return dict(self.rest.get(f"/v2/functions/{parse_function_id(str(function_id))}"))

    def delete_function(self, function_id: Id) -> None:
        """Make a function of yours unavailable for new tasks."""
        self.rest.delete(f"/v2/functions/{parse_function_id(str(function_id))}")

    def run(  # noqa: PLR0913 - the call and what it may need
        self,
        function_id: Id,
        endpoint_id: Id,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        user_endpoint_config: Mapping[str, Any] | None = None,
        resource_specification: Mapping[str, Any] | None = None,
        result_serializers: Sequence[str] = (),
    ) -> str:
        """Run a registered function once and return the task's id, for `get_result`.

        For more than a few tasks, or to be told of results, use an `Executor`.
        """
        batch = self.create_batch(
            user_endpoint_config=user_endpoint_config,
            resource_specification=resource_specification,
            result_serializers=result_serializers,
        )
        task_id = batch.add(function_id, args, kwargs)
        self.batch_run(endpoint_id, batch)
        return task_id

    def create_batch(self, **common: Any) -> Batch:
        """Return an empty batch of calls, for `batch_run`.

        Args:
            common: `task_group_id`, `resource_specification`, `user_endpoint_config` and
                `result_serializers`, as an `Executor` has them; `request_queue=True` for
                results that an `Executor` shall follow by `reload_tasks`.

        Raises:
            InvalidRequestError: resources that no endpoint would take.
            SerializationError: an unknown name in `result_serializers`.
        """
        return Batch(self.serializer, **common)

    def batch_run(self, endpoint_id: Id, batch: Batch) -> dict[str, Any]:
        """Run the calls of `batch`, all or none.

        Returns:
            `tasks` (function id -> task ids), `task_group_id`, `endpoint_id`, `request_id`.

        Raises:
            InvalidRequestError: nothing was added to it.
        """
        endpoint = parse_endpoint_id(str(endpoint_id))
        return dict(self.rest.post(f"/v3/endpoints/{endpoint}/submit", batch.prepare()))

    def get_worker_hardware_details(self, endpoint_id: Id, **common: Any) -> str:
        """Ask a worker what its machine is made of; return the task's id, for `get_result`.

        Args:
            common: see `run`.
        """
        return self.run(self.register_function(report), endpoint_id, **common)

    def get_task(self, task_id: Id) -> dict[str, Any]:
        """Return the hub's document of a task: `status`, and its end in packed form."""
        return dict(self.rest.get(f"/v2/tasks/{parse_task_id(str(task_id))}"))

    def get_result(self, task_id: Id) -> Any:
        """Return what the function of a task returned.

        Raises:
            TaskPendingError: it has not ended.
            Exception: what the function raised, or `TaskExecutionFailed`.
        """
        document = self.get_task(task_id)
        return self._value(str(task_id), document)

    def get_task_logs(self, task_id: Id) -> TaskLogs:
        """Return what a task of yours printed: the end of its standard output and error.

        Where there is nothing, `captured` is False and `reason` says why.
        """
        return from_document(self.rest.get(f"/v3/tasks/{parse_task_id(str(task_id))}/logs"))

    def get_batch_result(self, task_ids: Iterable[Id]) -> dict[str, dict[str, Any]]:
        """Return for each task `status`, `pending`, and `result` or `exception` when it ended.

        Tasks that the hub does not know are left out.
        """
        answers = {}
        for task_id, document in self.task_documents(task_ids).items():
            answer: dict[str, Any] = {"status": document.get("status"), "pending": False}
            try:
                answer["result"] = self._value(task_id, document)
            except TaskPendingError:
                answer["pending"] = True
            except Exception as error:  # noqa: BLE001 - it is the caller's answer for this task
                answer["exception"] = error
            answers[task_id] = answer
        return answers

    def task_documents(self, task_ids: Iterable[Id]) -> dict[str, dict[str, Any]]:
        """Return the hub's documents of several tasks, by task id."""
        wanted = iter([parse_task_id(str(task_id)) for task_id in task_ids])
        found: dict[str, dict[str, Any]] = {}
        while some := list(islice(wanted, _AT_ONCE)):
            answer = self.rest.post("/v2/batch_status", {"task_ids": some})
            for task_id, document in answer["results"].items():
                found[task_id] = {"task_id": task_id, **document}
        return found

    def tasks(self, *, limit: int = 50, state: str | None = None) -> list[dict[str, Any]]:
        """Return your own tasks, newest first; `usage` is what each one used, where known.

        Args:
            state: only those in this state, such as `failed`.
        """
        query = {"limit": str(limit), **({"state": state} if state else {})}
        return list(self.rest.get("/v3/tasks", **query)["tasks"])

    def cancel_task(self, task_id: Id) -> str:
        """Cancel a task of yours; see `cancel_tasks`.

        Raises:
            NotFoundError: there is no such task, or it is somebody else's.
        """
        (answer,) = self.cancel_tasks([task_id]).values()
        if answer == CancelAnswer.UNKNOWN:
            raise HubError.answered(404, ErrorCode.TASK_NOT_FOUND, f"There is no task {task_id}.")
        return answer

    def cancel_tasks(self, task_ids: Iterable[Id]) -> dict[str, str]:
        """Cancel tasks of yours, and return what becomes of each.

        `cancelled`: it will not run, or what comes of it is dropped. `asked`: the same, and its
        user endpoint was told to end it; `get_task` tells in `cancellation` what became of it.
        `ended`: it had ended before. `unknown`: there is no such task, or it is not yours.
        """
        return cancel_tasks(self.rest, [parse_task_id(str(task_id)) for task_id in task_ids])

    def group_task_ids(self, task_group_id: Id) -> list[str]:
        """Return the ids of the tasks of a task group of yours, in the order of their submit."""
        group = parse_task_group_id(str(task_group_id))
        return [one["id"] for one in self.rest.get(f"/v2/taskgroup/{group}")["tasks"]]

    def close(self) -> None:
        """Close idle connections."""
        self.rest.close()

    def _register(
        self,
        function: Function,
        using: Serializer,
        description: str | None,
        public: bool,
        group: Id | None,
    ) -> str:
        body = registration(
            function,
            using,
            description=description,
            public=public,
            group=None if group is None else str(group),
        )
        return str(self.rest.post("/v3/functions", body)["function_uuid"])

    def _value(self, task_id: str, document: Mapping[str, Any]) -> Any:
        result: Result | None = from_rest({"task_id": task_id, **document})
        if result is None:
            raise TaskPendingError(
                public=f"Task {task_id} has not ended yet; it is {document.get('status')}."
            )
        return value_of(result, self.serializer)
