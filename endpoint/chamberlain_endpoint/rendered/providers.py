"""How an engine gets nodes: providers, launchers, and the address workers connect to.

Each is chosen by its `type`, with the keys that the public documentation of Parsl gives it.
A provider that this version cannot drive is refused here, where the caller still sees why,
and not when the first block should start.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from chamberlain_endpoint.rendered.base import Checked

NOT_YET: Final = (
    "AWSProvider",
    "AzureProvider",
    "CondorProvider",
    "GoogleCloudProvider",
    "GridEngineProvider",
    "KubernetesProvider",
    "LSFProvider",
    "PBSProProvider",
    "SlurmProvider",
    "TorqueProvider",
)
"""Providers that we know by name and cannot drive; named in the refusal."""


class SimpleLauncher(Checked):
    """Run the worker command as it is, once."""

    type: Literal["SimpleLauncher"] = "SimpleLauncher"
    debug: bool = True


class SingleNodeLauncher(Checked):
    """Run the worker command on the one node of the block."""

    type: Literal["SingleNodeLauncher"] = "SingleNodeLauncher"
    debug: bool = True
    fail_on_any: bool = False


class WrappedLauncher(Checked):
    """Put a command in front of the worker command."""

    type: Literal["WrappedLauncher"] = "WrappedLauncher"
    prepend: str
    debug: bool = True


Launcher = Annotated[
    SimpleLauncher | SingleNodeLauncher | WrappedLauncher, Field(discriminator="type")
]
"""Launchers for a block of one node, the only blocks that this version starts."""


class LocalProvider(Checked):
    """Blocks are processes on the host of the user endpoint.

    Attributes:
        parallelism: blocks per task that waits, between 0 (as few as possible) and 1.
        worker_init: shell text that runs before the workers of each block.
        cmd_timeout: accepted and not used: starting a process needs no patience.
    """

    type: Literal["LocalProvider"] = "LocalProvider"
    init_blocks: NonNegativeInt = 1
    min_blocks: NonNegativeInt = 0
    max_blocks: PositiveInt = 1
    nodes_per_block: Literal[1] = 1
    parallelism: float = Field(default=1.0, ge=0.0, le=1.0)
    worker_init: str = ""
    cmd_timeout: PositiveInt = 30
    launcher: Launcher = SingleNodeLauncher()

    @model_validator(mode="after")
    def _blocks_in_order(self) -> Self:
        if not self.min_blocks <= self.max_blocks:
            raise ValueError(
                f"min_blocks ({self.min_blocks}) is more than max_blocks ({self.max_blocks})"
            )
        if not self.init_blocks <= self.max_blocks:
            raise ValueError(
                f"init_blocks ({self.init_blocks}) is more than max_blocks ({self.max_blocks})"
            )
        return self


class AddressByInterface(Checked):
    """The address of one network interface of this host."""

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
    Annotated[str, Tag(PLAIN_ADDRESS)]
    | Annotated[AddressByInterface, Tag("address_by_interface")]
    | Annotated[AddressByHost, Tag("address_by_hostname")]
    | Annotated[AddressByHost, Tag("address_by_route")]
    | Annotated[AddressByHost, Tag("get_any_address")],
    Discriminator(_kind_of_address),
]
"""The address itself as text, or how to find it."""


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
    strategy: Literal["simple", "htex_auto_scale", "none"] | None = "simple"
    strategy_period: PositiveFloat = 5.0
