"""Exchanges, queues, keys, and who may read and write which. Pure names.

Four durable topic exchanges; one task queue per user endpoint, one command queue per
endpoint, `results` and `heartbeats` for the hub, one result queue per task group. A routing
key begins with the id of its sender or addressee, and the broker enforces it (topic
permissions), so a routing key is as good as a signature of its sender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chamberlain_wire.errors import InvalidMessageError
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, parse_endpoint_id

TASKS: Final = "tasks"
COMMANDS: Final = "commands"
RESULTS: Final = "results"
HEARTBEATS: Final = "heartbeats"
EXCHANGES: Final = (TASKS, COMMANDS, RESULTS, HEARTBEATS)

RESULTS_QUEUE: Final = "results"
HEARTBEATS_QUEUE: Final = "heartbeats"

HEADER_FUNCTION: Final = "function_uuid"
HEADER_TASK: Final = "task_uuid"
HEADER_RESOURCES: Final = "resource_specification"
HEADER_SERIALIZERS: Final = "result_serializers"

FEATURE_CONTROL: Final = "control"
"""Key of a heartbeat's state: the manager's user endpoints, or this one, read a control queue."""

JSON_TYPE: Final = "application/json"


def task_queue(user_endpoint: EndpointId) -> str:
    """Name and routing key of a user endpoint's task queue."""
    return f"{user_endpoint}.tasks"


def control_queue(user_endpoint: EndpointId) -> str:
    """Name of a user endpoint's control queue, and its key on the default exchange."""
    return f"{user_endpoint}.control"


def command_queue(endpoint: EndpointId) -> str:
    """Name and routing key of an endpoint's command queue."""
    return f"{endpoint}.commands"


def results_key(user_endpoint: EndpointId) -> str:
    """Routing key under which a user endpoint publishes results."""
    return f"{user_endpoint}.results"


def heartbeats_key(endpoint: EndpointId) -> str:
    """Routing key under which an endpoint or user endpoint publishes heartbeats."""
    return f"{endpoint}.heartbeats"


def sender_of(routing_key: str) -> EndpointId:
    """Return who published under `routing_key`.

    Raises:
        InvalidMessageError: the key does not begin with an id. Drop the message.
    """
    head, dot, _ = routing_key.partition(".")
    if not dot:
        raise InvalidMessageError(f"routing key {routing_key[:80]!r} has no sender")
    return parse_endpoint_id(head)


def result_prefix(identity: IdentityId) -> str:
    """Prefix of the result queues that one identity may read."""
    return f"results.{identity}."


def group_queue(identity: IdentityId, group: TaskGroupId) -> str:
    """Name of the result queue of one task group."""
    return result_prefix(identity) + group


@dataclass(frozen=True, slots=True)
class Grant:
    """What one principal may do at the broker, as RabbitMQ's regular expressions.

    Nobody but the hub may declare or delete anything, so there is no `configure`.

    Attributes:
        read: queues it may consume.
        write: exchanges it may publish to.
        keys: exchange -> routing keys it may use there.
    """

    read: str
    write: str
    keys: tuple[tuple[str, str], ...]


NOTHING: Final = "^$"


def user_endpoint_grant(user_endpoint: EndpointId) -> Grant:
    """Own tasks and orders in; own results and heartbeats out."""
    queues = (task_queue(user_endpoint), control_queue(user_endpoint))
    return Grant(
        read=f"^({'|'.join(re.escape(name) for name in queues)})$",
        write=f"^({RESULTS}|{HEARTBEATS})$",
        keys=(
            (RESULTS, _exactly(results_key(user_endpoint))),
            (HEARTBEATS, _exactly(heartbeats_key(user_endpoint))),
        ),
    )


def manager_grant(endpoint: EndpointId) -> Grant:
    """Own commands in; own heartbeats out."""
    return Grant(
        read=_exactly(command_queue(endpoint)),
        write=f"^{HEARTBEATS}$",
        keys=((HEARTBEATS, _exactly(heartbeats_key(endpoint))),),
    )


def single_endpoint_grant(endpoint: EndpointId) -> Grant:
    """For agents that are not multi-user: own tasks and commands in; results, heartbeats out."""
    task_queue_name, command_queue_name = task_queue(endpoint), command_queue(endpoint)
    return Grant(
        read=f"^({re.escape(task_queue_name)}|{re.escape(command_queue_name)})$",
        write=f"^({RESULTS}|{HEARTBEATS})$",
        keys=user_endpoint_grant(endpoint).keys,
    )


def session_grant(identity: IdentityId) -> Grant:
    """One SDK session: the result queues of its own identity, nothing else."""
    return Grant(read=f"^{re.escape(result_prefix(identity))}", write=NOTHING, keys=())


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"
