"""What a launcher says to the holder of a session. Loaded by both."""

from __future__ import annotations

import json
from typing import NamedTuple


class Order(NamedTuple):
    """What the launcher wants of its holder.

    Attributes:
        service: name of the file in /etc/pam.d.
        user: the account's name.
        timeout_s: how long the modules may take to open the session.
        lease: file that is there for as long as there is, or will be, a container.
        state: file to make, to lock, and to leave the last word in.
        channel_fd: a stream socket: what is told goes out, the container's process comes in.
    """

    service: str
    user: str
    timeout_s: float
    lease: str
    state: str
    channel_fd: int

    def to_bytes(self) -> bytes:
        """Return the order in the form that travels."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Order:
        """Return the order that `to_bytes` wrote."""
        return cls(**json.loads(data))
