"""What the hub has not been told yet, in portions that fit one heartbeat."""

from __future__ import annotations

from typing import Final

import msgspec

from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.limits import MAX_STATUS_BYTES
from chamberlain_wire.messages import EndpointEvent

_MOST: Final = 200
_MOST_BYTES: Final = MAX_STATUS_BYTES // 2


def next_portion(records: Records) -> tuple[list[int], list[EndpointEvent]]:
    """Return the numbers and the events, oldest first, that the next heartbeat carries.

    They stay in the records until the broker confirmed them; a repeat does no harm.
    """
    numbers: list[int] = []
    events: list[EndpointEvent] = []
    size_bytes = 0
    for number, event in records.events(_MOST):
        size_bytes += len(msgspec.json.encode(event))
        if events and size_bytes > _MOST_BYTES:
            break
        numbers.append(number)
        events.append(event)
    return numbers, events
