"""How an engine gets nodes: providers, and the address that workers connect to.

Each is chosen by its `type`, with the keys that the public documentation of Parsl gives it.
What cannot work is refused here, where the caller still sees why, and not when the first
block should start.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag

from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.blocks import Blocks
from chamberlain_endpoint.rendered.clouds import (
    AWSProvider,
    AzureProvider,
    GoogleCloudProvider,
    KubernetesProvider,
)
from chamberlain_endpoint.rendered.launchers import LocalLauncher, SingleNodeLauncher
from chamberlain_endpoint.rendered.schedulers import (
    CondorProvider,
    GridEngineProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)
from chamberlain_endpoint.rendered.words import Host


class LocalProvider(Blocks):
    """Blocks are processes on the host of the user endpoint.

    Attributes:
        cmd_timeout: accepted and not used: starting a process needs no patience.
        launcher: what starts the workers.
    """

    type: Literal["LocalProvider"] = "LocalProvider"
    nodes_per_block: Literal[1] = 1
    cmd_timeout: PositiveInt = 30
    launcher: LocalLauncher = SingleNodeLauncher()


PROVIDERS: Final = (
    LocalProvider,
    SlurmProvider,
    PBSProProvider,
    TorqueProvider,
    LSFProvider,
    GridEngineProvider,
    CondorProvider,
    KubernetesProvider,
    AWSProvider,
    AzureProvider,
    GoogleCloudProvider,
)
"""Every provider, in the order of the reference."""

Provider = Annotated[
    LocalProvider
    | SlurmProvider
    | PBSProProvider
    | TorqueProvider
    | LSFProvider
    | GridEngineProvider
    | CondorProvider
    | KubernetesProvider
    | AWSProvider
    | AzureProvider
    | GoogleCloudProvider,
    Field(discriminator="type"),
]


class AddressByInterface(Checked):
    """The address of one network interface of this host.

    Attributes:
        ifname: such as `ib0`.
    """

    type: Literal["address_by_interface"] = "address_by_interface"
    ifname: str = Field(min_length=1, max_length=15)


class AddressByHost(Checked):
    """The address that this host's name or default route gives. Asks nobody outside."""

    type: Literal["address_by_hostname", "address_by_route", "get_any_address"]


PLAIN_ADDRESS: Final = "an IP address"


def _kind_of_address(value: Any) -> Any:
    if isinstance(value, str):
        return PLAIN_ADDRESS
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


Address = Annotated[
    Annotated[Host, Tag(PLAIN_ADDRESS)]
    | Annotated[AddressByInterface, Tag("address_by_interface")]
    | Annotated[AddressByHost, Tag("address_by_hostname")]
    | Annotated[AddressByHost, Tag("address_by_route")]
    | Annotated[AddressByHost, Tag("get_any_address")],
    Discriminator(_kind_of_address),
]
"""The address itself as text, or how to find it."""

Strategy = Literal["simple", "htex_auto_scale", "none"]


class JobStatusKwargs(Checked):
    """When blocks are added and given back.

    Attributes:
        max_idletime: seconds after which an idle block above `min_blocks` is given back.
        strategy: `simple` adds blocks; `htex_auto_scale` also gives them back while others
            are busy; `none` keeps the first ones.
        strategy_period: seconds between two looks at idle blocks. New blocks do not wait
            for it.
    """

    max_idletime: PositiveFloat = 120.0
    strategy: Strategy | None = "simple"
    strategy_period: PositiveFloat = 5.0
