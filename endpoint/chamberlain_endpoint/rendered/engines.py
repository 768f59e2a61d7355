"""What runs the tasks: one model per engine, chosen by `type`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.providers import Address, JobStatusKwargs, LocalProvider
from chamberlain_wire import strategy_names
from chamberlain_wire.errors import SerializationError
from chamberlain_wire.limits import MAX_TASK_OUTPUT_BYTES, TASK_OUTPUT_BYTES

Port = Annotated[int, Field(ge=1024, le=65535)]
PortRange = tuple[Port, Port]


class _TaskRules(Checked):
    """What every engine may say about its tasks.

    Attributes:
        label: name in logs and status.
        max_retries_on_system_failure: how often a task whose worker died is run again. 0,
            the default, means that user code never runs twice.
        working_dir: folder the tasks run in; relative to the user endpoint's own folder.
        run_in_sandbox: give each task a folder of its own below `working_dir`.
        allowed_serializers: names of the strategies that may be read, `*Code` and `*Data` for
            all of a kind, at least one of each kind; None is all.
        task_output_bytes: how much of the end of a task's standard output, and of its standard
            error, is kept for its owner; 0 keeps nothing, and captures nothing.
        task_timeout_s: a task may take no longer, whatever its caller allows it; None is what
            GC_TASK_TIMEOUT in the environment says, and no limit without it.
    """

    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    max_retries_on_system_failure: NonNegativeInt = 0
    working_dir: str = Field(default="tasks_working_dir", min_length=1)
    run_in_sandbox: bool = False
    allowed_serializers: list[str] | None = None
    task_output_bytes: int = Field(default=TASK_OUTPUT_BYTES, ge=0, le=MAX_TASK_OUTPUT_BYTES)
    task_timeout_s: PositiveFloat | None = Field(default=None, allow_inf_nan=False)

    @field_validator("allowed_serializers")
    @classmethod
    def _known_strategies(cls, value: list[str] | None) -> list[str] | None:
        if value is not None:
            try:
                strategy_names.allowed(value)
            except SerializationError as error:
                raise ValueError(error.public) from None
        return value


class ThreadPoolEngine(_TaskRules):
    """Tasks are threads of the user endpoint itself: the fastest start, one interpreter.

    Attributes:
        max_workers: None is Python's own choice (a few more than the host has cores).
    """

    type: Literal["ThreadPoolEngine"] = "ThreadPoolEngine"
    max_workers: PositiveInt | None = None

    @model_validator(mode="after")
    def _no_sandbox(self) -> Self:
        if self.run_in_sandbox:
            raise ValueError(
                "run_in_sandbox needs a process a task, and threads share one working folder"
            )
        return self


class ProcessPoolEngine(_TaskRules):
    """Tasks run in worker processes on the user endpoint's host.

    Attributes:
        max_workers: None is the number of cores.
    """

    type: Literal["ProcessPoolEngine"] = "ProcessPoolEngine"
    max_workers: PositiveInt | None = None


class HtexEngine(_TaskRules):
    """Tasks run in Parsl's high-throughput executor, on blocks of nodes.

    Keys are those of the executor; `None` is its own default. Whichever of its names was
    written, it is called GlobusComputeEngine afterwards.

    Attributes:
        encrypted: traffic between interchange and workers (CurveZMQ).
        strategy: older spelling of `job_status_kwargs.strategy`.
        heartbeat_period: seconds; also how late a dead worker may be noticed.
    """

    type: Literal["GlobusComputeEngine", "ParslEngine", "HighThroughputEngine"] = (
        "GlobusComputeEngine"
    )
    provider: LocalProvider = LocalProvider()
    address: Address | None = None
    loopback_address: str = "127.0.0.1"
    worker_port: Port | None = None
    worker_port_range: PortRange = (54000, 55000)
    interchange_port_range: PortRange = (55000, 56000)
    worker_debug: bool = False
    cores_per_worker: PositiveFloat = 1.0
    mem_per_worker: PositiveFloat | None = None
    max_workers_per_node: PositiveInt | None = None
    cpu_affinity: str = Field(
        default="none", pattern=r"^(none|block|block-reverse|alternating|list:[0-9,:-]+)$"
    )
    available_accelerators: NonNegativeInt | list[str] = Field(default_factory=list)
    prefetch_capacity: NonNegativeInt = 0
    heartbeat_period: PositiveInt | None = None
    heartbeat_threshold: PositiveInt | None = None
    drain_period: PositiveInt | None = None
    poll_period: PositiveInt | None = None
    address_probe_timeout: PositiveInt | None = None
    worker_logdir_root: str | None = None
    encrypted: bool = True
    strategy: Literal["simple", "htex_auto_scale", "none"] | None = None
    job_status_kwargs: JobStatusKwargs = JobStatusKwargs()
    container_type: None = None
    container_uri: None = None
    container_cmd_options: None = None

    @field_validator("type")
    @classmethod
    def _one_name(cls, _value: str) -> str:
        return "GlobusComputeEngine"

    @field_validator("container_type", "container_uri", "container_cmd_options", mode="before")
    @classmethod
    def _no_container(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("workers in containers are not supported by this version")
        return value

    @field_validator("worker_port_range", "interchange_port_range")
    @classmethod
    def _rising(cls, value: PortRange) -> PortRange:
        if value[0] >= value[1]:
            raise ValueError(f"the first port must be below the second, not {list(value)}")
        return value

    @model_validator(mode="after")
    def _two_beats_before_lost(self) -> Self:
        period, threshold = self.heartbeat_period, self.heartbeat_threshold
        if period is not None and threshold is not None and threshold < 2 * period:
            raise ValueError(
                "heartbeat_threshold must be at least twice heartbeat_period: "
                "one late beat must not count as a death"
            )
        return self


Engine = Annotated[
    ThreadPoolEngine | ProcessPoolEngine | HtexEngine,
    Field(discriminator="type"),
]

ENGINE_TYPES: Final = (
    "ThreadPoolEngine",
    "ProcessPoolEngine",
    "GlobusComputeEngine",
    "ParslEngine",
    "HighThroughputEngine",
)
"""Every word that `engine.type` may be."""
