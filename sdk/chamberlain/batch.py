"""Several calls of registered functions that go to the hub in one request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from chamberlain.errors import InvalidRequestError
from chamberlain.resources import check_resources, strategy_names
from chamberlain.runtime import user_runtime
from chamberlain_wire.ids import new_id, parse_function_id, parse_task_group_id
from chamberlain_wire.serialize import Serializer, pack_payload


class Batch:
    """Calls to send together, with what they have in common; see `Client.create_batch`.

        batch = client.create_batch()
        task_ids = [batch.add(function_id, (number,)) for number in range(10)]
        client.batch_run(endpoint_id, batch)

    Attributes:
        task_group_id: binds the tasks together, for `Executor.reload_tasks`.
    """

    def __init__(
        self,
        serializer: Serializer,
        *,
        task_group_id: str | uuid.UUID | None = None,
        resource_specification: Mapping[str, Any] | None = None,
        user_endpoint_config: Mapping[str, Any] | None = None,
        result_serializers: Sequence[str] = (),
        request_queue: bool = False,
    ) -> None:
        check_resources(resource_specification)
        self.task_group_id = parse_task_group_id(str(task_group_id or new_id()))
        self._serializer = serializer
        self._request_queue = request_queue
        self._more: dict[str, Any] = {
            "resource_specification": resource_specification,
            "user_endpoint_config": user_endpoint_config,
            "result_serializers": strategy_names(result_serializers),
        }
        self._payloads: dict[str, list[str]] = {}
        self._task_ids: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._task_ids.values()))

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} tasks, task group {self.task_group_id}>"

    def add(
        self,
        function_id: str | uuid.UUID,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Add one call and return its task's id, for `Client.get_result`.

        Raises:
            InvalidIdError: the function's id is no UUID.
            SerializationError: an argument cannot travel; the text names it.
        """
        function, task_id = parse_function_id(str(function_id)), new_id()
        payload = pack_payload(args, kwargs or {}, self._serializer)
        self._payloads.setdefault(function, []).append(payload)
        self._task_ids.setdefault(function, []).append(task_id)
        return task_id

    def prepare(self) -> dict[str, Any]:
        """Return the request. A repeat of it is harmless: the tasks have their ids.

        Raises:
            InvalidRequestError: nothing was added.
        """
        if not self._task_ids:
            raise InvalidRequestError(public="The batch is empty: add calls to it first.")
        return {
            "tasks": self._payloads,
            "task_ids": self._task_ids,
            "task_group_id": self.task_group_id,
            "create_queue": self._request_queue,
            "user_runtime": user_runtime(),
            **{key: value for key, value in self._more.items() if value},
        }
