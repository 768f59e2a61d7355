"""A configuration that was checked, as those see it who work by it.

`parse` needs a tenth of a second and a dozen megabytes for its library, once in the manager.
A user endpoint, of which a host may have hundreds, gets every value written out (`to_json`)
and reads it with these, which check shape and types only. A test holds the two together.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from chamberlain_wire.errors import ChamberlainError, ErrorCode


class NotSettledError(ChamberlainError):
    """It is not what `to_json` writes. Let `parse` look at it, which also says what is wrong."""

    code = ErrorCode.CONFIG_INVALID


class _Settled(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    @property
    def type(self) -> str:
        """The word that chose it."""
        return str(self.__struct_config__.tag)


class SimpleLauncher(_Settled, frozen=True, kw_only=True, tag="SimpleLauncher"):
    """See `providers.SimpleLauncher`."""

    debug: bool


class SingleNodeLauncher(_Settled, frozen=True, kw_only=True, tag="SingleNodeLauncher"):
    """See `providers.SingleNodeLauncher`."""

    debug: bool
    fail_on_any: bool


class WrappedLauncher(_Settled, frozen=True, kw_only=True, tag="WrappedLauncher"):
    """See `providers.WrappedLauncher`."""

    debug: bool
    prepend: str


class LocalProvider(_Settled, frozen=True, kw_only=True, tag="LocalProvider"):
    """See `providers.LocalProvider`."""

    init_blocks: int
    min_blocks: int
    max_blocks: int
    nodes_per_block: int
    parallelism: float
    worker_init: str
    cmd_timeout: int
    launcher: SimpleLauncher | SingleNodeLauncher | WrappedLauncher


class JobStatusKwargs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `providers.JobStatusKwargs`."""

    max_idletime: float
    strategy: Literal["simple", "htex_auto_scale", "none"] | None
    strategy_period: float


class _TaskRules(_Settled, frozen=True, kw_only=True):
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


class HtexEngine(_TaskRules, frozen=True, kw_only=True, tag="GlobusComputeEngine"):
    """See `engines.HtexEngine`.

    Attributes:
        address: itself, or `type` and arguments of the way to find it.
    """

    provider: LocalProvider
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
    container_type: None
    container_uri: None
    container_cmd_options: None


Engine = ThreadPoolEngine | ProcessPoolEngine | HtexEngine


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
