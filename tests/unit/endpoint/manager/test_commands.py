"""Only a fresh, whole, signed command for this endpoint becomes a wish."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.manager_builders import Signer, changed, credentials, delivery

from chamberlain_endpoint.manager.commands import CommandRefusedError, read_command
from chamberlain_endpoint.manager.records import Wish
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.messages import StartCommand

NOW = 1_800_000_000.0
HUB = Signer(EndpointId(new_id()))
UEP = new_id()


def command(**changes: Any) -> StartCommand:
    return HUB.command(UEP, now=NOW, **changes)


def read(taken: Delivery, now: float = NOW) -> Wish:
    return read_command(taken, endpoint=HUB.endpoint, keys=[HUB.public], now=now)


def test_a_valid_command_becomes_a_wish() -> None:
    wish = read(delivery(command(options={"a": 1}, runtime={"b": "c"}), now=NOW))
    assert wish.user_endpoint == UEP
    assert (wish.options, wish.runtime) == ({"a": 1}, {"b": "c"})
    assert wish.expires_at == NOW + 170
    assert "secret" in wish.credentials.reveal()
    assert "secret" not in repr(wish)


def test_a_command_without_options_has_empty_ones() -> None:
    wish = read(delivery(command(), now=NOW))
    assert (wish.options, wish.runtime) == ({}, {})


OTHER_KEY = Signer(HUB.endpoint)
OTHER_ENDPOINT = Signer(EndpointId(new_id()), HUB.key)
GOOD = delivery(command(), now=NOW)
REFUSED = {
    "content type": (delivery(command(), now=NOW, content_type="text/plain"), "content type"),
    "no content type": (delivery(command(), now=NOW, content_type=None), "content type"),
    "no timestamp": (delivery(command(), now=NOW, timestamp=None), "no timestamp"),
    "too old": (delivery(command(), now=NOW - 200), "200 s old"),
    "from the future": (delivery(command(), now=NOW + 60), "60 s in the future"),
    "10 MB": (delivery(b"x" * 10_000_000, now=NOW), "10000000 bytes"),
    "not JSON": (delivery(b"{", now=NOW), "wrong shape"),
    "not UTF-8": (delivery(b'{"command": "\xff"}', now=NOW), "wrong shape"),
    "deep": (delivery(b"[" * 100_000, now=NOW), "wrong shape"),
    "another shape": (delivery(b"[]", now=NOW), "wrong shape"),
    "another command": (
        delivery(msgspec.structs.replace(command(), command="cmd_rm"), now=NOW),
        "unknown command",
    ),
    "not signed": (
        delivery(msgspec.structs.replace(command(), assertion=""), now=NOW),
        "no signature",
    ),
    "signed by another": (
        delivery(OTHER_KEY.command(UEP, now=NOW), now=NOW),
        "signed by no key",
    ),
    "for another endpoint": (
        delivery(OTHER_ENDPOINT.command(UEP, now=NOW), now=NOW),
        "assertion is for endpoint",
    ),
    "back-dated": (
        delivery(command(issued_at=NOW - 400, expires_at=NOW - 230), now=NOW),
        "expired",
    ),
    "lives too long": (delivery(command(expires_at=NOW + 1000), now=NOW), "lives longer"),
    "other options": (
        delivery(changed(command(options={"a": 1}), user_opts={"a": 2}), now=NOW),
        "not those that were signed",
    ),
    "other runtime": (
        delivery(changed(command(), user_runtime={"a": 2}), now=NOW),
        "not those that were signed",
    ),
    "other name": (
        delivery(changed(command(), name=f"uep.{HUB.endpoint}.{new_id()}"), now=NOW),
        "name is",
    ),
    "other credentials": (
        delivery(changed(command(), amqp_creds=credentials(new_id())), now=NOW),
        "another user endpoint's",
    ),
    "no id": (delivery(command(id="x"), now=NOW), "not a valid command id"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_anything_else_is_refused_with_its_reason(why: str) -> None:
    taken, words = REFUSED[why]
    with pytest.raises(CommandRefusedError, match=words):
        read(taken)


def test_one_bit_of_the_statement_is_enough_to_refuse() -> None:
    signed = command()
    statement = signed.assertion
    for place in range(0, len(statement), 37):
        other = "A" if statement[place] != "A" else "B"
        forged = statement[:place] + other + statement[place + 1 :]
        with pytest.raises(CommandRefusedError):
            read(delivery(msgspec.structs.replace(signed, assertion=forged), now=NOW))
