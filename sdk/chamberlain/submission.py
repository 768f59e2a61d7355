"""One batch to the hub: registered, posted, and where it is refused, taken apart.

A refusal of a batch says nothing about its single tasks: when a batch holds several functions,
or is too large, its parts are sent on their own, so that one bad call does not take others along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chamberlain.batching import Call, Destination
from chamberlain.errors import (
    ChamberlainError,
    ForbiddenError,
    HubError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    VersionMismatchWarning,
)
from chamberlain.functions import Function, Functions
from chamberlain.futures import fail
from chamberlain.runtime import user_runtime
from chamberlain_wire.errors import ErrorCode

_ONE_TO_BLAME: Final = (ForbiddenError, NotFoundError, InvalidRequestError)


class Submission:
    """Posts batches. Used by many threads at once.

    Args:
        post: (path, body) -> answer, as `Rest.post`.
        accepted: called with the task group whenever the hub took a batch for it.
        before: called with the endpoint's id before each batch; what it raises ends the batch.
    """

    def __init__(
        self,
        post: Callable[[str, object], Any],
        functions: Functions,
        accepted: Callable[[str], None],
        *,
        before: Callable[[str], None] = lambda _endpoint_id: None,
    ) -> None:
        self._post = post
        self._functions = functions
        self._accepted = accepted
        self._before = before

    def send(self, to: Destination, calls: list[Call]) -> None:
        """Send `calls`; those that cannot be sent end with the reason."""
        try:
            self._before(to.endpoint_id)
            self._send(to, calls)
        except HubError as error:
            parts = _parts(calls, error)
            if len(parts) > 1:
                for part in parts:
                    self.send(to, part)
            else:
                self._fail(calls, error)
        except (ChamberlainError, VersionMismatchWarning) as error:
            self._fail(calls, error)
        except BaseException as error:
            # A fault of ours must not leave futures without an end.
            self._fail(calls, error)
            raise
        else:
            self._accepted(to.task_group_id)

    def _send(self, to: Destination, calls: list[Call]) -> None:
        by_function = {
            self._functions.id_of(function): group for function, group in _grouped(calls).items()
        }
        wanted = {
            function: [call.future.task_id for call in group]
            for function, group in by_function.items()
        }
        body: dict[str, Any] = {
            "tasks": {
                function: [call.payload for call in group]
                for function, group in by_function.items()
            },
            "task_ids": wanted,
            "task_group_id": to.task_group_id,
            "create_queue": True,
            "user_runtime": user_runtime(),
        }
        if to.options != "null":
            body["user_endpoint_config"] = msgspec.Raw(to.options.encode())
        if to.resources != "null":
            body["resource_specification"] = msgspec.Raw(to.resources.encode())
        if to.result_serializers:
            body["result_serializers"] = list(to.result_serializers)
        answer = self._post(f"/v3/endpoints/{to.endpoint_id}/submit", body)
        if not isinstance(answer, dict) or answer.get("tasks") != wanted:
            raise HubError(
                public="The hub did not take the task ids that we sent: it is not a Chamberlain "
                "hub, or an old one. Ask whoever runs it for an upgrade."
            )

    def _fail(self, calls: list[Call], error: BaseException) -> None:
        if isinstance(error, NotFoundError) and error.word == ErrorCode.FUNCTION_NOT_FOUND:
            for function in _grouped(calls):
                self._functions.forget(function)
        for call in calls:
            fail(call.future, error)


def _grouped(calls: list[Call]) -> dict[Function, list[Call]]:
    groups: dict[Function, list[Call]] = {}
    for call in calls:
        groups.setdefault(call.function, []).append(call)
    return groups


def _parts(calls: list[Call], error: HubError) -> list[list[Call]]:
    """Return the parts of a refused batch that deserve a request of their own."""
    if isinstance(error, _ONE_TO_BLAME):
        return list(_grouped(calls).values())
    if isinstance(error, PayloadTooLargeError) and len(calls) > 1:
        half = len(calls) // 2
        return [calls[:half], calls[half:]]
    return [calls]
