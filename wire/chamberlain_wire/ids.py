"""Ids: parsed at the edge, typed inside, never bare `str`.

All are UUIDs in the canonical lower-case form with hyphens, because the public clients
refuse anything else.
"""

from __future__ import annotations

import uuid
from typing import NewType

from chamberlain_wire.errors import InvalidIdError

TaskId = NewType("TaskId", str)
TaskGroupId = NewType("TaskGroupId", str)
FunctionId = NewType("FunctionId", str)
EndpointId = NewType("EndpointId", str)  # multi-user endpoints and user endpoints alike
IdentityId = NewType("IdentityId", str)
CommandId = NewType("CommandId", str)


def canonical(text: str, what: str) -> str:
    """Return `text` as a canonical UUID.

    Args:
        text: any spelling that `uuid.UUID` reads.
        what: the noun for the error, such as `"task id"`.

    Raises:
        InvalidIdError: it is no UUID. Tell the sender; do not guess.
    """
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError):
        shown = repr(text)[:80]
        raise InvalidIdError(public=f"{shown} is not a valid {what} (a UUID is needed).") from None


def parse_task_id(text: str) -> TaskId:
    """Return the task id in `text`, or raise `InvalidIdError`."""
    return TaskId(canonical(text, "task id"))


def parse_task_group_id(text: str) -> TaskGroupId:
    """Return the task group id in `text`, or raise `InvalidIdError`."""
    return TaskGroupId(canonical(text, "task group id"))


def parse_function_id(text: str) -> FunctionId:
    """Return the function id in `text`, or raise `InvalidIdError`."""
    return FunctionId(canonical(text, "function id"))


def parse_endpoint_id(text: str) -> EndpointId:
    """Return the endpoint id in `text`, or raise `InvalidIdError`."""
    return EndpointId(canonical(text, "endpoint id"))


def parse_identity_id(text: str) -> IdentityId:
    """Return the identity id in `text`, or raise `InvalidIdError`."""
    return IdentityId(canonical(text, "identity id"))


def new_id() -> str:
    """Return a fresh random UUID in canonical form; wrap it in the type it is for."""
    return str(uuid.uuid4())
