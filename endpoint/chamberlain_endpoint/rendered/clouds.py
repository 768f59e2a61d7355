"""Blocks as pods or machines of a cloud: one model per provider of Parsl, with Parsl's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from chamberlain_endpoint.rendered.blocks import Blocks
from chamberlain_endpoint.rendered.launchers import Launcher, SingleNodeLauncher
from chamberlain_endpoint.rendered.words import (
    AbsolutePath,
    DnsName,
    MaybeDnsName,
    MaybeWord,
    PlainText,
    Quantity,
    Walltime,
    Word,
)

Id = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]


class KubernetesProvider(Blocks):
    """Blocks are pods. Needs the package `kubernetes` beside Chamberlain.

    Attributes:
        image: what pods run.
        namespace: where.
        max_cpu: limit of a pod.
        max_mem: limit of a pod.
        init_cpu: request of a pod.
        init_mem: request of a pod.
        extra_requests: further requests, such as `nvidia.com/gpu`.
        extra_limits: further limits.
        pod_name: beginning of the pods' names; None is made of the user endpoint's id.
        user_id: of the processes in a pod, with `group_id`.
        group_id: see `user_id`.
        run_as_non_root: refuse an image that runs as root.
        secret: name of the secret that pulls the image.
        persistent_volumes: pairs of a claim's name and a folder.
        service_account_name: of the pods.
        annotations: of the pods.
    """

    type: Literal["KubernetesProvider"] = "KubernetesProvider"
    init_blocks: Annotated[int, Field(ge=0)] = 4
    max_blocks: PositiveInt = 10
    image: Word
    namespace: DnsName = "default"
    max_cpu: PositiveFloat = 2.0
    max_mem: Quantity = "500Mi"
    init_cpu: PositiveFloat = 1.0
    init_mem: Quantity = "250Mi"
    extra_requests: dict[Word, Quantity] | None = None
    extra_limits: dict[Word, Quantity] | None = None
    pod_name: MaybeDnsName = None
    user_id: Id | None = None
    group_id: Id | None = None
    run_as_non_root: bool = False
    secret: MaybeDnsName = None
    persistent_volumes: list[tuple[DnsName, AbsolutePath]] = Field(default_factory=list)
    service_account_name: MaybeDnsName = None
    annotations: dict[Word, PlainText] | None = None


class AWSProvider(Blocks):
    """Blocks are machines of Amazon's. Needs the package `boto3` beside Chamberlain.

    Attributes:
        image_id: of the machines.
        key_name: name of the key pair.
        instance_type: size of a machine.
        region: where.
        spot_max_bid: most dollars an hour for a spot machine; 0 is none.
        key_file: file with credentials.
        profile: of the credentials.
        iam_instance_profile_arn: role of the machines.
        state_file: where Parsl keeps what it made.
        walltime: hours:minutes:seconds of a machine.
        linger: leave machines running.
        launcher: what starts the workers.
    """

    type: Literal["AWSProvider"] = "AWSProvider"
    max_blocks: PositiveInt = 10
    image_id: Word
    key_name: Word
    instance_type: Word = "t2.small"
    region: Word = "us-east-2"
    spot_max_bid: NonNegativeFloat = 0.0
    key_file: AbsolutePath | None = None
    profile: MaybeWord = None
    iam_instance_profile_arn: MaybeWord = None
    state_file: AbsolutePath | None = None
    walltime: Walltime = "01:00:00"
    linger: bool = False
    launcher: Launcher = SingleNodeLauncher()


class AzureProvider(Blocks):
    """Blocks are machines of Microsoft's. Needs Parsl's `azure` packages beside Chamberlain.

    Attributes:
        vm_reference: publisher, offer, sku, version, vm_size, disk_size_gb, admin_username and
            password of the machines.
        location: where.
        group_name: resource group.
        key_name: name of the key.
        key_file: file with credentials.
        vnet_name: network.
        linger: leave machines running.
        launcher: what starts the workers.
    """

    type: Literal["AzureProvider"] = "AzureProvider"
    max_blocks: PositiveInt = 10
    nodes_per_block: Literal[1] = 1
    vm_reference: dict[Word, PlainText | int]
    location: Word = "westus"
    group_name: Word = "parsl.group"
    key_name: MaybeWord = None
    key_file: AbsolutePath | None = None
    vnet_name: Word = "parsl.vnet"
    linger: bool = False
    launcher: Launcher = SingleNodeLauncher()


class GoogleCloudProvider(Blocks):
    """Blocks are machines of Google's. Needs `google-api-python-client` beside Chamberlain.

    Attributes:
        project_id: what is charged.
        key_file: file with credentials.
        region: where.
        os_project: project of the image.
        os_family: family of the image.
        google_version: of the interface.
        instance_type: size of a machine.
        launcher: what starts the workers.
    """

    type: Literal["GoogleCloudProvider"] = "GoogleCloudProvider"
    max_blocks: PositiveInt = 10
    nodes_per_block: Literal[1] = 1
    worker_init: Literal[""] = ""
    project_id: Word
    key_file: AbsolutePath
    region: Word
    os_project: Word
    os_family: Word
    google_version: Word = "v1"
    instance_type: Word = "n1-standard-1"
    launcher: Launcher = SingleNodeLauncher()
