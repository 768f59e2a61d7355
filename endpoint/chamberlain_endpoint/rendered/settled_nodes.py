"""Providers and launchers that were checked, as those see them who work by them.

See `settled`. Every class has the keys of the model that its text names.
"""

from __future__ import annotations

import msgspec


class Settled(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """A choice by `type`."""

    @property
    def type(self) -> str:
        """The word that chose it."""
        return str(self.__struct_config__.tag)


class _Launcher(Settled, frozen=True, kw_only=True):
    debug: bool


class SimpleLauncher(_Launcher, frozen=True, kw_only=True, tag="SimpleLauncher"):
    """See `launchers.SimpleLauncher`."""


class SingleNodeLauncher(_Launcher, frozen=True, kw_only=True, tag="SingleNodeLauncher"):
    """See `launchers.SingleNodeLauncher`."""

    fail_on_any: bool


class WrappedLauncher(_Launcher, frozen=True, kw_only=True, tag="WrappedLauncher"):
    """See `launchers.WrappedLauncher`."""

    prepend: str


class SrunLauncher(_Launcher, frozen=True, kw_only=True, tag="SrunLauncher"):
    """See `launchers.SrunLauncher`."""

    overrides: str


class SrunMPILauncher(_Launcher, frozen=True, kw_only=True, tag="SrunMPILauncher"):
    """See `launchers.SrunMPILauncher`."""

    overrides: str


class AprunLauncher(_Launcher, frozen=True, kw_only=True, tag="AprunLauncher"):
    """See `launchers.AprunLauncher`."""

    overrides: str


class JsrunLauncher(_Launcher, frozen=True, kw_only=True, tag="JsrunLauncher"):
    """See `launchers.JsrunLauncher`."""

    overrides: str


class MpiExecLauncher(_Launcher, frozen=True, kw_only=True, tag="MpiExecLauncher"):
    """See `launchers.MpiExecLauncher`."""

    overrides: str
    bind_cmd: str


class MpiRunLauncher(_Launcher, frozen=True, kw_only=True, tag="MpiRunLauncher"):
    """See `launchers.MpiRunLauncher`."""

    overrides: str
    bash_location: str


class GnuParallelLauncher(_Launcher, frozen=True, kw_only=True, tag="GnuParallelLauncher"):
    """See `launchers.GnuParallelLauncher`."""


LocalLauncher = SimpleLauncher | SingleNodeLauncher | WrappedLauncher
Launcher = (
    SimpleLauncher
    | SingleNodeLauncher
    | WrappedLauncher
    | SrunLauncher
    | SrunMPILauncher
    | AprunLauncher
    | JsrunLauncher
    | MpiExecLauncher
    | MpiRunLauncher
    | GnuParallelLauncher
)


class _Blocks(Settled, frozen=True, kw_only=True):
    init_blocks: int
    min_blocks: int
    max_blocks: int
    nodes_per_block: int
    parallelism: float
    worker_init: str


class LocalProvider(_Blocks, frozen=True, kw_only=True, tag="LocalProvider"):
    """See `providers.LocalProvider`."""

    cmd_timeout: int
    launcher: LocalLauncher


class _Batch(_Blocks, frozen=True, kw_only=True):
    walltime: str
    cmd_timeout: int
    launcher: Launcher


class SlurmProvider(_Batch, frozen=True, kw_only=True, tag="SlurmProvider"):
    """See `schedulers.SlurmProvider`."""

    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    clusters: str | None
    cores_per_node: int | None
    mem_per_node: int | None
    gpus_per_node: int | None
    gres: str | None
    scheduler_options: str
    regex_job_id: str
    status_batch_size: int
    exclusive: bool


class PBSProProvider(_Batch, frozen=True, kw_only=True, tag="PBSProProvider"):
    """See `schedulers.PBSProProvider`."""

    account: str | None
    queue: str | None
    cpus_per_node: int
    select_options: str
    scheduler_options: str


class TorqueProvider(_Batch, frozen=True, kw_only=True, tag="TorqueProvider"):
    """See `schedulers.TorqueProvider`."""

    account: str | None
    queue: str | None
    scheduler_options: str


class LSFProvider(_Batch, frozen=True, kw_only=True, tag="LSFProvider"):
    """See `schedulers.LSFProvider`."""

    project: str | None
    queue: str | None
    request_by_nodes: bool
    cores_per_block: int | None
    cores_per_node: int | None
    bsub_redirection: bool
    scheduler_options: str


class GridEngineProvider(_Batch, frozen=True, kw_only=True, tag="GridEngineProvider"):
    """See `schedulers.GridEngineProvider`."""

    queue: str | None
    scheduler_options: str


class CondorProvider(_Batch, frozen=True, kw_only=True, tag="CondorProvider"):
    """See `schedulers.CondorProvider`."""

    cores_per_slot: int | None
    mem_per_slot: float | None
    environment: dict[str, str] | None
    project: str | None
    requirements: str
    transfer_input_files: list[str]
    cmd_chunk_size: int
    scheduler_options: str


class KubernetesProvider(_Blocks, frozen=True, kw_only=True, tag="KubernetesProvider"):
    """See `clouds.KubernetesProvider`."""

    image: str
    namespace: str
    max_cpu: float
    max_mem: str
    init_cpu: float
    init_mem: str
    extra_requests: dict[str, str] | None
    extra_limits: dict[str, str] | None
    pod_name: str | None
    user_id: str | None
    group_id: str | None
    run_as_non_root: bool
    secret: str | None
    persistent_volumes: list[tuple[str, str]]
    service_account_name: str | None
    annotations: dict[str, str] | None


class AWSProvider(_Blocks, frozen=True, kw_only=True, tag="AWSProvider"):
    """See `clouds.AWSProvider`."""

    image_id: str
    key_name: str
    instance_type: str
    region: str
    spot_max_bid: float
    key_file: str | None
    profile: str | None
    iam_instance_profile_arn: str | None
    state_file: str | None
    walltime: str
    linger: bool
    launcher: Launcher


class AzureProvider(_Blocks, frozen=True, kw_only=True, tag="AzureProvider"):
    """See `clouds.AzureProvider`."""

    vm_reference: dict[str, str | int]
    location: str
    group_name: str
    key_name: str | None
    key_file: str | None
    vnet_name: str
    linger: bool
    launcher: Launcher


class GoogleCloudProvider(_Blocks, frozen=True, kw_only=True, tag="GoogleCloudProvider"):
    """See `clouds.GoogleCloudProvider`."""

    project_id: str
    key_file: str
    region: str
    os_project: str
    os_family: str
    google_version: str
    instance_type: str
    launcher: Launcher


BatchProvider = (
    SlurmProvider
    | PBSProProvider
    | TorqueProvider
    | LSFProvider
    | GridEngineProvider
    | CondorProvider
)
CloudProvider = KubernetesProvider | AWSProvider | AzureProvider | GoogleCloudProvider
Provider = LocalProvider | BatchProvider | CloudProvider
