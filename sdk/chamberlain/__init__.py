"""Run Python functions on a cluster, as yourself, without a shell account there.

from chamberlain import Executor

with Executor(endpoint_id) as executor:
    print(executor.submit(sum, [1, 2, 3]).result())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chamberlain.batch import Batch
    from chamberlain.client import Client
    from chamberlain.errors import (
        AuthenticationError,
        ChamberlainError,
        ConfigError,
        ConflictError,
        DeserializationError,
        ForbiddenError,
        HubError,
        HubUnavailableError,
        InvalidRequestError,
        NotFoundError,
        PayloadTooLargeError,
        SerializationError,
        TaskExecutionFailed,
        TaskPendingError,
        TaskTimeoutError,
        VersionMismatchWarning,
    )
    from chamberlain.executor import Executor
    from chamberlain.futures import ChamberlainFuture
    from chamberlain.logs import TaskLogs
    from chamberlain.progress import as_completed
    from chamberlain.shell import MPIFunction, ShellFunction, ShellResult
    from chamberlain_wire.serialize import Serializer, assume_installed, serializer

__all__ = [
    "AuthenticationError",
    "Batch",
    "ChamberlainError",
    "ChamberlainFuture",
    "Client",
    "ConfigError",
    "ConflictError",
    "DeserializationError",
    "Executor",
    "ForbiddenError",
    "HubError",
    "HubUnavailableError",
    "InvalidRequestError",
    "MPIFunction",
    "NotFoundError",
    "PayloadTooLargeError",
    "SerializationError",
    "Serializer",
    "ShellFunction",
    "ShellResult",
    "TaskExecutionFailed",
    "TaskLogs",
    "TaskPendingError",
    "TaskTimeoutError",
    "VersionMismatchWarning",
    "as_completed",
    "assume_installed",
    "serializer",
]

_ELSEWHERE = {
    "Batch": "chamberlain.batch",
    "Client": "chamberlain.client",
    "ChamberlainFuture": "chamberlain.futures",
    "Executor": "chamberlain.executor",
    "MPIFunction": "chamberlain.shell",
    "Serializer": "chamberlain_wire.serialize",
    "ShellFunction": "chamberlain.shell",
    "ShellResult": "chamberlain.shell",
    "TaskLogs": "chamberlain.logs",
    "as_completed": "chamberlain.progress",
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
