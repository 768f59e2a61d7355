"""A configuration that was checked, as those see it who work by it.

`parse` needs a tenth of a second and a dozen megabytes for its library, once in the manager.
A user endpoint, of which a host may have hundreds, gets every value written out (`to_json`)
and reads it with these, which check shape and types only. A test holds the two together.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from chamberlain_endpoint.rendered.settled_nodes import (
    LocalLauncher,
    LocalProvider,
    Provider,
    Settled,
    SimpleLauncher,
    SingleNodeLauncher,
    WrappedLauncher,
)
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class NotSettledError(ChamberlainError):
    """It is not what `to_json` writes. Let `parse` look at it, which also says what is wrong."""

    code = ErrorCode.CONFIG_INVALID


class JobStatusKwargs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `providers.JobStatusKwargs`."""

    max_idletime: float
    strategy: Literal["simple", "htex_auto_scale", "none"] | None
    strategy_period: float


class _TaskRules(Settled, frozen=True, kw_only=True):
    label: str | None
    max_retries_on_system_failure: int
    working_dir: str
    run_in_sandbox: bool
    allowed_serializers: list[str] | None
    task_output_bytes: int
    task_timeout_s: float | None


class ThreadPoolEngine(_TaskRules, frozen=True, kw_only=True, tag="ThreadPoolEngine"):
    """See `engines.ThreadPoolEngine`."""

    max_workers: int | None


class ProcessPoolEngine(_TaskRules, frozen=True, kw_only=True, tag="ProcessPoolEngine"):
    """See `engines.ProcessPoolEngine`."""

    max_workers: int | None
    max_tasks_per_child: None


class HtexEngine(_TaskRules, frozen=True, kw_only=True, tag="GlobusComputeEngine"):
    """See `engines.HtexEngine`.

    Attributes:
        address: itself, or `type` and arguments of the way to find it.
    """

    provider: Provider
    address: str | dict[str, str] | None
    loopback_address: str
    worker_port: int | None
    worker_port_range: tuple[int, int]
    interchange_port_range: tuple[int, int]
    worker_debug: bool
    cores_per_worker: float
    mem_per_worker: float | None
    max_workers_per_node: int | None
    cpu_affinity: str
    available_accelerators: int | list[str]
    prefetch_capacity: int
    heartbeat_period: int | None
    heartbeat_threshold: int | None
    drain_period: int | None
    poll_period: int | None
    address_probe_timeout: int | None
    worker_logdir_root: str | None
    encrypted: bool
    strategy: Literal["simple", "htex_auto_scale", "none"] | None
    job_status_kwargs: JobStatusKwargs
    block_error_handler: bool
    container_type: str | None
    container_uri: str | None
    container_cmd_options: str | None
    launch_cmd: None
    interchange_launch_cmd: None
    storage_access: None
    manager_selector: None
    remote_monitoring_radio: None


class MpiEngine(HtexEngine, frozen=True, kw_only=True, tag="GlobusMPIEngine"):
    """See `engines.MpiEngine`."""

    mpi_launcher: str
    max_workers_per_block: int
    allowed_launcher_options: list[str]


Engine = ThreadPoolEngine | ProcessPoolEngine | HtexEngine | MpiEngine

__all__ = [
    "Engine",
    "HtexEngine",
    "JobStatusKwargs",
    "LocalLauncher",
    "LocalProvider",
    "MpiEngine",
    "NotSettledError",
    "Paths",
    "ProcessPoolEngine",
    "Provider",
    "SimpleLauncher",
    "SingleNodeLauncher",
    "ThreadPoolEngine",
    "UserEndpoint",
    "WrappedLauncher",
    "read",
]


class Paths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `config.Paths`."""

    endpoint_dir: None
    endpoint_log: str | None


class UserEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `config.UserEndpointConfig`."""

    engine: Engine
    heartbeat_period: float
    heartbeat_threshold: float
    idle_heartbeats_soft: int
    idle_heartbeats_hard: int
    endpoint_setup: str | None
    endpoint_teardown: str | None
    paths: Paths
    allowed_functions: list[str] | None
    debug: bool
    display_name: str | None
    runtime: str | None
    container_image: str | None
    amqp_port: int | None


def read(document: object) -> UserEndpoint:
    """Return the checked configuration in `document`, the parsed form of what `to_json` wrote.

    Raises:
        NotSettledError: a value is missing, unknown, or of another type.
    """
    try:
        return msgspec.convert(document, UserEndpoint)
    except msgspec.ValidationError as error:
        raise NotSettledError(str(error)) from None
