"""Run Python functions on a cluster, as yourself, without a shell account there.

from chamberlain import Executor

with Executor(endpoint_id) as executor:
    print(executor.submit(sum, [1, 2, 3]).result())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chamberlain.client import Client
    from chamberlain.errors import (
        AuthenticationError,
        ChamberlainError,
        ConfigError,
        ConflictError,
        ForbiddenError,
        HubError,
        HubUnavailableError,
        InvalidRequestError,
        NotFoundError,
        PayloadTooLargeError,
        SerializationError,
        TaskExecutionFailed,
        TaskPendingError,
    )
    from chamberlain.executor import Executor
    from chamberlain.futures import ChamberlainFuture
    from chamberlain_wire.serialize import Serializer, assume_installed, serializer

__all__ = [
    "AuthenticationError",
    "ChamberlainError",
    "ChamberlainFuture",
    "Client",
    "ConfigError",
    "ConflictError",
    "Executor",
    "ForbiddenError",
    "HubError",
    "HubUnavailableError",
    "InvalidRequestError",
    "NotFoundError",
    "PayloadTooLargeError",
    "SerializationError",
    "Serializer",
    "TaskExecutionFailed",
    "TaskPendingError",
    "assume_installed",
    "serializer",
]

_ELSEWHERE = {
    "Client": "chamberlain.client",
    "ChamberlainFuture": "chamberlain.futures",
    "Executor": "chamberlain.executor",
    "Serializer": "chamberlain_wire.serialize",
    "assume_installed": "chamberlain_wire.serialize",
    "serializer": "chamberlain_wire.serialize",
}


def __getattr__(name: str) -> object:
    # dill, urllib3 and pika load when they are needed, not when a notebook starts.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ELSEWHERE.get(name, "chamberlain.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
