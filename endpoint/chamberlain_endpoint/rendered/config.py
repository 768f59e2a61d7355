"""The whole configuration of one user endpoint, as a site's template renders it."""

from __future__ import annotations

import json
from typing import Final, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from chamberlain_endpoint.rendered import engines, providers
from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.engines import Engine
from chamberlain_endpoint.rendered.faults import ConfigInvalidError, sentences
from chamberlain_endpoint.rendered.launchers import LAUNCHERS
from chamberlain_endpoint.rendered.words import ShellText
from chamberlain_wire import allowed
from chamberlain_wire.allowed import AllowedInvalidError
from chamberlain_wire.limits import MAX_RENDERED_CONFIG_BYTES


class Paths(Checked):
    """Where the user endpoint keeps its files.

    Attributes:
        endpoint_dir: must be None: the launcher gives the folder, on a local disk.
        endpoint_log: of the log; relative to that folder. None is `endpoint.log`.
    """

    endpoint_dir: None = None
    endpoint_log: str | None = None

    @field_validator("endpoint_dir", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if value is not None:
            raise ValueError("the folder of a user endpoint is chosen by the site's launcher")
        return value


class UserEndpointConfig(Checked):
    """All that a user endpoint may be told. Durations are seconds.

    Attributes:
        engine: what runs the tasks.
        heartbeat_period: between two signs of life.
        heartbeat_threshold: silence after which the hub counts it as gone.
        idle_heartbeats_soft: leave after so many heartbeats without a task; 0 is never.
        idle_heartbeats_hard: leave after so many heartbeats in which no task ended although
            some run; only when `idle_heartbeats_soft` is above 0.
        endpoint_setup: shell text that runs before tasks are taken.
        endpoint_teardown: shell text that runs after the last.
        paths: where files are.
        allowed_functions: which functions may run here, see `chamberlain_wire.allowed`; None is
            all. What the endpoint's own configuration lists narrows it.
        debug: the log tells more.
        display_name: what people see.
        runtime: `process` or `container`, one of those that the launcher's settings let the
            account have; None is the account's usual one.
        container_image: name of the image to run in, one of those that the launcher's settings
            let the account have; None is the account's usual one. Not used by a process.
        amqp_port: accepted and not used: our hub's credentials name the port.
    """

    engine: Engine
    heartbeat_period: float = Field(default=30.0, ge=5.0, le=3600.0)
    heartbeat_threshold: PositiveFloat = 120.0
    idle_heartbeats_soft: NonNegativeInt = 0
    idle_heartbeats_hard: NonNegativeInt = 5760
    endpoint_setup: ShellText | None = None
    endpoint_teardown: ShellText | None = None
    paths: Paths = Paths()
    allowed_functions: list[str] | None = None
    debug: bool = False
    display_name: str | None = Field(default=None, max_length=256)
    runtime: Literal["process", "container"] | None = None
    container_image: str | None = Field(default=None, max_length=64)
    amqp_port: int | None = Field(default=None, ge=1, le=65535)

    @field_validator("allowed_functions", mode="before")
    @classmethod
    def _canonical(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        try:
            return [allowed.canonical(entry) for entry in value]
        except AllowedInvalidError as error:
            raise ValueError(error.public) from None

    @model_validator(mode="after")
    def _two_beats_before_lost(self) -> Self:
        if self.heartbeat_threshold < 2 * self.heartbeat_period:
            raise ValueError(
                "heartbeat_threshold must be at least twice heartbeat_period: "
                "one late beat must not count as a death"
            )
        return self


_TAGGED: Final[dict[str, type[BaseModel]]] = {
    "ThreadPoolEngine": engines.ThreadPoolEngine,
    "ProcessPoolEngine": engines.ProcessPoolEngine,
    "GlobusComputeEngine": engines.HtexEngine,
    "ParslEngine": engines.HtexEngine,
    "HighThroughputEngine": engines.HtexEngine,
    "GlobusMPIEngine": engines.MpiEngine,
    **{model.__name__: model for model in (*LAUNCHERS, *providers.PROVIDERS)},
    # A text has no keys; this only keeps the validator's own word out of the path.
    providers.PLAIN_ADDRESS: Checked,
    "address_by_interface": providers.AddressByInterface,
    "address_by_hostname": providers.AddressByHost,
    "address_by_route": providers.AddressByHost,
    "get_any_address": providers.AddressByHost,
}


def parse(document: object) -> UserEndpointConfig:
    """Return the configuration in `document`, the parsed YAML of a rendered template.

    Raises:
        ConfigInvalidError: it has faults; all of them are in `faults` and in `public`.
    """
    if not isinstance(document, dict):
        raise ConfigInvalidError([f"it is not a mapping but {type(document).__name__}"])
    try:
        config = UserEndpointConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigInvalidError(
            sentences(error.errors(include_url=False), UserEndpointConfig, _TAGGED)
        ) from None
    size = len(to_json(config).encode())
    if size > MAX_RENDERED_CONFIG_BYTES:
        raise ConfigInvalidError([f"it has {size} bytes, the limit is {MAX_RENDERED_CONFIG_BYTES}"])
    return config


def to_json(config: UserEndpointConfig) -> str:
    """Return `config` as canonical JSON: sorted keys, no spaces, every default written out."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> UserEndpointConfig:
    """Return what `to_json` wrote.

    Raises:
        ConfigInvalidError: as `parse`; also when it is no JSON.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigInvalidError([f"it is not JSON ({error})"]) from None
    return parse(document)
