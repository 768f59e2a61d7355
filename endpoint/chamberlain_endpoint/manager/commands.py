"""Is this delivery a command to act on? All checks, from the cheapest to the dearest.

Nothing here is the last word: the launcher checks the signed statement again, as root must.
These checks keep rubbish away from it, and tell the administrator what somebody tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chamberlain_endpoint.manager.records import Wish
from chamberlain_wire.assertion import (
    Assertion,
    AssertionRefusedError,
    check_addressed,
    open_signed,
    request_digest,
)
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.codec import decode_command
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import CommandId, EndpointId, canonical, parse_endpoint_id
from chamberlain_wire.limits import CLOCK_SKEW_S, COMMAND_MAX_AGE_S, MAX_COMMAND_BYTES
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import StartCommand
from chamberlain_wire.topology import JSON_TYPE

START: Final = "cmd_start_endpoint"


class CommandRefusedError(ChamberlainError):
    """The delivery is not a command to act on. Log the reason and drop it; never retry."""

    code = ErrorCode.COMMAND_REFUSED


def read_command(
    delivery: Delivery, *, endpoint: EndpointId, keys: Iterable[Ed25519PublicKey], now: float
) -> Wish:
    """Return the wish in `delivery`.

    Args:
        keys: public keys of the hub; one of them must have signed the assertion.
        now: UTC seconds.

    Raises:
        CommandRefusedError: a check said no; its text is for the log, not for the sender,
            who may be anybody with access to the broker.
    """
    _check_envelope(delivery, now)
    try:
        command = decode_command(delivery.body)
        assertion = open_signed(command.assertion.encode(), keys)
        check_addressed(assertion, endpoint=endpoint, now=now)
        return _wish(command, assertion, endpoint)
    except (InvalidMessageError, AssertionRefusedError, InvalidIdError) as error:
        raise CommandRefusedError(str(error)) from None


def _check_envelope(delivery: Delivery, now: float) -> None:
    if delivery.content_type != JSON_TYPE:
        raise CommandRefusedError(f"content type is {str(delivery.content_type)[:80]!r}")
    if len(delivery.body) > MAX_COMMAND_BYTES:
        raise CommandRefusedError(f"{len(delivery.body)} bytes, the limit is {MAX_COMMAND_BYTES}")
    if delivery.timestamp is None:
        raise CommandRefusedError("no timestamp")
    age_s = now - delivery.timestamp
    if age_s > COMMAND_MAX_AGE_S:
        raise CommandRefusedError(f"{age_s:.0f} s old, the limit is {COMMAND_MAX_AGE_S:.0f} s")
    if age_s < -CLOCK_SKEW_S:
        raise CommandRefusedError(f"sent {-age_s:.0f} s in the future")


def _wish(command: StartCommand, assertion: Assertion, endpoint: EndpointId) -> Wish:
    if command.command != START:
        raise CommandRefusedError(f"unknown command {command.command[:80]!r}")
    user_endpoint = parse_endpoint_id(assertion.user_endpoint)
    kwargs = command.kwargs
    expected = f"uep.{endpoint}.{user_endpoint}"
    if kwargs.name != expected:
        raise CommandRefusedError(f"name is {kwargs.name[:120]!r}, signed is {expected!r}")
    if kwargs.amqp_creds.endpoint_id != user_endpoint:
        raise CommandRefusedError("the credentials are another user endpoint's")
    if request_digest(kwargs.user_opts, kwargs.user_runtime) != assertion.request_digest:
        raise CommandRefusedError("the options or runtime are not those that were signed")
    return Wish(
        command=CommandId(canonical(assertion.id, "command id")),
        user_endpoint=user_endpoint,
        assertion=command.assertion,
        options=_mapping(kwargs.user_opts),
        runtime=_mapping(kwargs.user_runtime),
        credentials=Secret(msgspec.json.encode(kwargs.amqp_creds).decode()),
        expires_at=assertion.expires_at,
    )


def _mapping(value: dict[str, Any] | None) -> dict[str, Any]:
    return value or {}
