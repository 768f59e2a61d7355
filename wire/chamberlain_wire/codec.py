"""Bytes <-> message. Size first, then version, then shape; nothing is trusted before.

Task, Result, StatusReport and ControlOrder: one version byte `\\x01`, then
`{"message_type": ..., "data": {...}}` in UTF-8 without a newline. Commands: plain JSON.
msgspec was measured against the alternatives: `docs/adr/0006-encoding.md`.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar, cast

import msgspec

from chamberlain_wire.errors import InvalidMessageError
from chamberlain_wire.limits import MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES
from chamberlain_wire.messages import (
    ControlOrder,
    Message,
    Result,
    StartCommand,
    StatusReport,
    Task,
)

_VERSION: Final = b"\x01"

M = TypeVar("M", Task, Result, StatusReport, ControlOrder)


class _Envelope(msgspec.Struct):
    message_type: str
    data: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(_Envelope)
_commands = msgspec.json.Decoder(StartCommand)
_decoders: Final = {
    kind: msgspec.json.Decoder(kind) for kind in (Task, Result, StatusReport, ControlOrder)
}


def encode(message: Message) -> bytes:
    """Return `message` as it travels."""
    envelope = {"message_type": type(message).message_type, "data": message}
    try:
        return _VERSION + _encoder.encode(envelope)
    except UnicodeEncodeError:
        # Half a surrogate pair, from a user's error text or source: only escapes can carry it.
        return _VERSION + json.dumps(msgspec.to_builtins(envelope)).encode()


def decode(body: bytes, kind: type[M], *, max_bytes: int = MAX_MESSAGE_BYTES) -> M:
    """Return the message of `kind` in `body`.

    Raises:
        InvalidMessageError: too large, another version, another kind, or another shape.
            Drop the message and say so in the log; it will never become valid.
    """
    if len(body) > max_bytes:
        raise InvalidMessageError(f"message has {len(body)} bytes, the limit is {max_bytes}")
    if body[:1] != _VERSION:
        raise InvalidMessageError(f"message version is {body[:1]!r}, known is {_VERSION!r}")
    try:
        envelope = _envelopes.decode(memoryview(body)[1:])
        if envelope.message_type != kind.message_type:
            raise InvalidMessageError(
                f"message is {envelope.message_type[:40]!r}, expected {kind.message_type!r}"
            )
        return cast(M, _decoders[kind].decode(envelope.data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _decode_lenient(body, kind, error)


def _decode_lenient(body: bytes, kind: type[M], first: Exception) -> M:
    """Read what Python's own `json` writes and strict JSON forbids: NaN, half surrogate pairs."""
    try:
        envelope: Any = json.loads(body[1:])
        if envelope["message_type"] == kind.message_type:
            return msgspec.convert(envelope["data"], kind)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InvalidMessageError(f"{kind.__name__} has a wrong shape: {first}") from None


def encode_command(command: StartCommand) -> bytes:
    """Return `command` as it travels."""
    return _encoder.encode(command)


def decode_command(body: bytes) -> StartCommand:
    """Return the command in `body`; whether to believe it is the manager's business.

    Raises:
        InvalidMessageError: too large, no JSON, or another shape.
    """
    if len(body) > MAX_COMMAND_BYTES:
        raise InvalidMessageError(
            f"command has {len(body)} bytes, the limit is {MAX_COMMAND_BYTES}"
        )
    try:
        return _commands.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessageError(f"command has a wrong shape: {error}") from None
