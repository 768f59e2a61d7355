"""What the launcher may write to a user endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chamberlain_endpoint.user import order

INFO = {"connection_url": "amqp://u:secret@h/", "exchange": "e", "queue": "q"}
VALID: dict[str, Any] = {
    "v": 1,
    "endpoint": "e",
    "user_endpoint": "u",
    "command": "c",
    "config": {"engine": {"type": "ThreadPoolEngine"}},
    "credentials": {
        "endpoint_id": "u",
        "task_queue_info": INFO,
        "result_queue_info": INFO,
        "heartbeat_queue_info": INFO,
    },
    "state_dir": "/x",
    "lease_s": 30.0,
}


def test_an_order_is_read() -> None:
    one = order.read(json.dumps({**VALID, "identity": {"username": "alice@example.edu"}}).encode())
    assert one.user_endpoint == "u"
    assert one.identity.username == "alice@example.edu"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({**VALID, "v": 2}).encode(),
        json.dumps({**VALID, "lease_s": "long"}).encode(),
        json.dumps({**VALID, "state_dir": None}).encode(),
        b"x" * 600_000,
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(order.OrderInvalidError):
        order.read(line)


def test_a_refusal_names_no_secret() -> None:
    broken = {**VALID, "credentials": {**VALID["credentials"], "endpoint_id": 3}}
    with pytest.raises(order.OrderInvalidError) as caught:
        order.read(json.dumps(broken).encode())
    assert "secret" not in str(caught.value)
