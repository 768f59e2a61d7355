"""The one line that the launcher writes to our standard input."""

from __future__ import annotations

from typing import Any

import msgspec

from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.limits import MAX_LAUNCH_BYTES
from chamberlain_wire.messages import QueueCredentials


class OrderInvalidError(ChamberlainError):
    """What came on standard input is no order. End; whoever started us is of another version."""

    code = ErrorCode.START_FAILED
    public = "The user endpoint was started with an order that it cannot read."


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for this user endpoint, and the mapping rule that matched."""

    id: str = ""
    username: str = ""
    rule: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Serve as this user endpoint.

    Attributes:
        v: version of this format.
        endpoint: id of the endpoint that it belongs to.
        user_endpoint: our own id.
        command: id of the command that started us.
        config: the rendered and checked configuration.
        state_dir: absolute path of our own folder, on a local disk.
        lease_s: end when the launcher is silent for so long, in seconds.
        lease_file: the launcher is heard by the changes of this file's time, where there is
            such a file; else on standard input.
        stop_grace_s: how long running tasks may go on when we are asked to stop; the one who
            asks waits a little longer before it kills.
        asks_twice: who asks by SIGTERM gives its own time: running tasks may go on until a second
            SIGTERM comes.
        tells_tasks: whether the launcher wants to know what happens to tasks.
    """

    v: int
    endpoint: str
    user_endpoint: str
    command: str
    config: dict[str, Any]
    credentials: QueueCredentials
    state_dir: str
    lease_s: float
    identity: Identity = Identity()
    stop_grace_s: float = 7.0
    asks_twice: bool = False
    tells_tasks: bool = False
    lease_file: str = ""


def read(line: bytes) -> Order:
    """Return the order in `line`.

    Raises:
        OrderInvalidError: too long, no JSON, another version, or another shape.
    """
    if len(line) > MAX_LAUNCH_BYTES:
        raise OrderInvalidError(f"order has {len(line)} bytes")
    try:
        order = msgspec.json.decode(line, type=Order)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The text of the error names fields and types, never values: no secret gets out.
        raise OrderInvalidError(f"order has a wrong shape: {error}") from None
    if order.v != 1:
        raise OrderInvalidError(f"order has version {order.v}, known is 1")
    return order
