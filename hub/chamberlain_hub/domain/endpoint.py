"""Endpoints, which administrators register, and user endpoints, which callers cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chamberlain_wire.ids import CommandId, EndpointId, IdentityId
from chamberlain_wire.states import UserEndpointState


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an administrator registered. Times are UTC seconds.

    Attributes:
        metadata: what the agent says about itself (host, versions, configuration).
        schema: JSON schema for the caller's options; None: any options.
        template: text of the user configuration template, for showing only.
        allowed_functions: entries as `chamberlain_wire.allowed` writes them; None: any function.
        admins: identities that may manage it beside the owner.
        heartbeat_period_s: as last announced; 0: it said that it leaves.
        last_heartbeat_at: None: never heard of.
        locked_until: None: not locked.
    """

    id: EndpointId
    owner: IdentityId
    name: str
    display_name: str = ""
    multi_user: bool = True
    public: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    template: str | None = None
    allowed_functions: tuple[str, ...] | None = None
    authentication_policy: str | None = None
    subscription: str | None = None
    high_assurance: bool = False
    admins: tuple[IdentityId, ...] = ()
    heartbeat_period_s: float = 30.0
    last_heartbeat_at: float | None = None
    last_state: dict[str, Any] = field(default_factory=dict)
    locked_until: float | None = None
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class UserEndpoint:
    """One process of one identity at one endpoint with one configuration, wished or real.

    Attributes:
        options: the caller's `user_endpoint_config`.
        runtime: the caller's `user_runtime`.
        command: id of the last start command; None: never asked.
        generation: how often a start was asked; names its broker user.
        failures: ends in a row that were not clean, without a finished task in between.
        error_code: why it was refused or failed last; empty when nothing is wrong.
        error_message: the sentence for the caller that belongs to it.
        asked_at: when the last start was asked, UTC seconds.
        moved_at: since when it is in `state`; None: since it was made.
    """

    id: EndpointId
    endpoint: EndpointId
    identity: IdentityId
    options: dict[str, Any] | None = None
    runtime: dict[str, Any] | None = None
    state: UserEndpointState = UserEndpointState.GONE
    command: CommandId | None = None
    generation: int = 0
    heartbeat_period_s: float = 30.0
    last_heartbeat_at: float | None = None
    last_state: dict[str, Any] = field(default_factory=dict)
    failures: int = 0
    error_code: str = ""
    error_message: str = ""
    created_at: float = 0.0
    asked_at: float | None = None
    moved_at: float | None = None
