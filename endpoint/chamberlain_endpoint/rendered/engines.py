"""What runs the tasks: one model per engine, chosen by `type`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.providers import (
    Address,
    JobStatusKwargs,
    LocalProvider,
    Provider,
    Strategy,
)
from chamberlain_endpoint.rendered.words import (
    Accelerator,
    Folder,
    Host,
    Image,
    LauncherOption,
    ShellText,
)
from chamberlain_wire import strategy_names
from chamberlain_wire.errors import SerializationError
from chamberlain_wire.limits import MAX_TASK_OUTPUT_BYTES, TASK_OUTPUT_BYTES

Port = Annotated[int, Field(ge=1024, le=65535)]
PortRange = tuple[Port, Port]

ContainerType = Literal[
    "apptainer", "docker", "singularity", "podman", "podman-hpc", "unpacked", "custom"
]

REFUSED: Final = {
    "launch_cmd": "the command of the workers is Chamberlain's own; say what comes before it "
    "in worker_init or in a WrappedLauncher",
    "interchange_launch_cmd": "the interchange is started by Chamberlain; leave it out",
    "storage_access": "files are not staged by the engine; leave it out",
    "manager_selector": "tasks go to whichever workers are free; leave it out",
    "remote_monitoring_radio": "Parsl's monitoring does not run here; leave it out",
}
"""Arguments of Parsl's executor that are refused, and why."""


class _TaskRules(Checked):
    """What every engine may say about its tasks.

    Attributes:
        label: name in logs and status.
        max_retries_on_system_failure: how often a task whose worker died is run again. 0,
            the default, means that user code never runs twice.
        working_dir: folder the tasks run in; relative to the user endpoint's own folder, and to
            `~/.chamberlain/tasks/USER_ENDPOINT_ID` where a scheduler's nodes run them.
        run_in_sandbox: give each task a folder of its own below `working_dir`.
        allowed_serializers: names of the strategies that may be read, `*Code` and `*Data` for
            all of a kind, at least one of each kind; None is all.
        task_output_bytes: how much of the end of a task's standard output, and of its standard
            error, is kept for its owner; 0 keeps nothing, and captures nothing.
        task_timeout_s: a task may take no longer, whatever its caller allows it; None is what
            GC_TASK_TIMEOUT in the environment says, and no limit without it.
    """

    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
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
        max_tasks_per_child: must be None: a worker stays, and ends with the user endpoint.
    """

    type: Literal["ProcessPoolEngine"] = "ProcessPoolEngine"
    max_workers: PositiveInt | None = None
    max_tasks_per_child: None = None

    @field_validator("max_tasks_per_child", mode="before")
    @classmethod
    def _workers_stay(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("workers are not replaced after a number of tasks; leave it out")
        return value


class _Htex(_TaskRules):
    """Tasks run in Parsl's high-throughput executor, on blocks of nodes.

    Keys are those of the executor; `None` is its own default.

    Attributes:
        provider: where blocks come from.
        address: where workers find the interchange; None is this host itself with
            LocalProvider, and the address of the default route with all others.
        loopback_address: where the interchange finds the user endpoint.
        worker_port: None is a free port of `worker_port_range`.
        worker_port_range: first port, and the one behind the last.
        interchange_port_range: of the ports towards the user endpoint.
        worker_debug: workers log everything.
        cores_per_worker: cores that one worker needs.
        mem_per_worker: GB that one worker needs.
        max_workers_per_node: most workers on a node.
        cpu_affinity: `none`, `block`, `block-reverse`, `alternating` or `list:0,1:2,3`.
        available_accelerators: their number or names; each worker gets one.
        prefetch_capacity: tasks that a node takes beyond its workers.
        heartbeat_period: seconds; also how late a dead worker may be noticed.
        heartbeat_threshold: seconds of silence after which the other side is lost.
        drain_period: seconds after which workers take no more tasks and end.
        poll_period: milliseconds.
        address_probe_timeout: seconds to find the interchange.
        worker_logdir_root: folder of the workers' logs.
        encrypted: traffic between interchange and workers (CurveZMQ).
        strategy: older spelling of `job_status_kwargs.strategy`.
        job_status_kwargs: when blocks are added and given back.
        block_error_handler: accepted; a block that fails is always told of.
        container_type: run the workers in a container of this kind. `unpacked` needs no engine on
            the nodes, only the image's folder.
        container_uri: the image. With `unpacked` its root folder on the nodes; left out it is the
            image that the user endpoint itself runs in.
        container_cmd_options: shell text of the site's, before the image. With `custom` the
            whole command, with `{EXECUTOR_RUNDIR}` and `{EXECUTOR_LAUNCH_CMD}`.
    """

    provider: Provider = LocalProvider()
    address: Address | None = None
    loopback_address: Host = "127.0.0.1"
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
    available_accelerators: NonNegativeInt | list[Accelerator] = Field(default_factory=list)
    prefetch_capacity: NonNegativeInt = 0
    heartbeat_period: PositiveInt | None = None
    heartbeat_threshold: PositiveInt | None = None
    drain_period: PositiveInt | None = None
    poll_period: PositiveInt | None = None
    address_probe_timeout: PositiveInt | None = None
    worker_logdir_root: Folder | None = None
    encrypted: bool = True
    strategy: Strategy | None = None
    job_status_kwargs: JobStatusKwargs = JobStatusKwargs()
    block_error_handler: bool = True
    container_type: ContainerType | None = None
    container_uri: Image | None = None
    container_cmd_options: ShellText | None = None
    launch_cmd: None = None
    interchange_launch_cmd: None = None
    storage_access: None = None
    manager_selector: None = None
    remote_monitoring_radio: None = None

    @model_validator(mode="before")
    @classmethod
    def _older_spellings(cls, given: Any) -> Any:
        """Take what older releases of the public agent wrote: see `older_keys`."""
        return older_keys(given)[0] if isinstance(given, dict) else given

    @field_validator(*REFUSED, mode="before")
    @classmethod
    def _not_ours(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            raise ValueError(REFUSED[str(info.field_name)])
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

    @model_validator(mode="after")
    def _whole_container(self) -> Self:
        kind, options = self.container_type, self.container_cmd_options
        if kind is None:
            if self.container_uri or options:
                raise ValueError("container_uri and container_cmd_options need a container_type")
            return self
        if self.provider.type in _HAVE_IMAGES:
            raise ValueError(f"{self.provider.type} has an image of its own: leave container_* out")
        if kind == "unpacked":
            return self._whole_folder()
        if kind == "custom" and "{EXECUTOR_LAUNCH_CMD}" not in (options or ""):
            raise ValueError(
                "container_type: custom needs container_cmd_options with {EXECUTOR_LAUNCH_CMD}"
            )
        if kind != "custom" and not self.container_uri:
            raise ValueError(f"container_type: {kind} needs container_uri, the image")
        return self

    def _whole_folder(self) -> Self:
        if self.provider.type == "LocalProvider":
            raise ValueError(
                "container_type: unpacked is for the nodes of a scheduler: with LocalProvider "
                "workers run where the user endpoint does, and in its image"
            )
        if self.container_cmd_options:
            raise ValueError(
                "container_type: unpacked has no engine that container_cmd_options go to"
            )
        if self.container_uri is not None and not self.container_uri.startswith("/"):
            raise ValueError(
                "container_type: unpacked takes a folder as container_uri, such as /images/a/root, "
                f"not {self.container_uri[:60]!r}; leave it out for the user endpoint's own image"
            )
        return self


class HtexEngine(_Htex):
    """Tasks run in Parsl's high-throughput executor, on blocks of nodes.

    Whichever of its names was written, it is called GlobusComputeEngine afterwards.
    """

    type: Literal["GlobusComputeEngine", "ParslEngine", "HighThroughputEngine"] = (
        "GlobusComputeEngine"
    )

    @field_validator("type")
    @classmethod
    def _one_name(cls, _value: str) -> str:
        return "GlobusComputeEngine"


class MpiEngine(_Htex):
    """Tasks are MPI programs that share the nodes of a block.

    `cores_per_worker`, `mem_per_worker` and `max_workers_per_node` mean nothing here.

    Attributes:
        mpi_launcher: starts a task's program.
        max_workers_per_block: tasks that share a block.
        allowed_launcher_options: what callers may say in `launcher_options`: `--exclusive` as it
            is, `--cpu-bind=*` with a value behind it, `-bind-to *` with the next word as value.
    """

    type: Literal["GlobusMPIEngine"] = "GlobusMPIEngine"
    mpi_launcher: Literal["mpiexec", "srun", "aprun"] = "mpiexec"
    max_workers_per_block: PositiveInt = 1
    allowed_launcher_options: list[LauncherOption] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_pool_a_block(self) -> Self:
        launcher = getattr(self.provider, "launcher", None)
        if launcher is not None and launcher.type != "SimpleLauncher":
            raise ValueError(
                f"GlobusMPIEngine needs provider.launcher of type SimpleLauncher, not "
                f"{launcher.type}: each task starts its program on the nodes by itself"
            )
        return self


def older_keys(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return an engine's keys in today's spelling, and old key -> the one that it became.

    `max_workers` was `max_workers_per_node`; `strategy` was a mapping with `type` and
    `max_idletime`.
    """
    keys, became = dict(given), {}
    if "max_workers" in keys and "max_workers_per_node" not in keys:
        keys["max_workers_per_node"] = keys.pop("max_workers")
        became["max_workers"] = "max_workers_per_node"
    older = keys.get("strategy")
    if isinstance(older, dict) and older.get("type", "SimpleStrategy") in _OLD_STRATEGIES:
        rules = {name: value for name, value in older.items() if name != "type"}
        rules["strategy"] = _OLD_STRATEGIES[older.get("type", "SimpleStrategy")]
        keys["job_status_kwargs"] = rules | (keys.get("job_status_kwargs") or {})
        del keys["strategy"]
        became["strategy"] = "job_status_kwargs"
    return keys, became


_OLD_STRATEGIES: Final = {"SimpleStrategy": "simple", "NoneStrategy": "none"}
_HAVE_IMAGES: Final = (
    "AWSProvider",
    "AzureProvider",
    "GoogleCloudProvider",
    "KubernetesProvider",
)

Engine = Annotated[
    ThreadPoolEngine | ProcessPoolEngine | HtexEngine | MpiEngine,
    Field(discriminator="type"),
]

ENGINE_TYPES: Final = (
    "ThreadPoolEngine",
    "ProcessPoolEngine",
    "GlobusComputeEngine",
    "ParslEngine",
    "HighThroughputEngine",
    "GlobusMPIEngine",
)
"""Every word that `engine.type` may be."""
