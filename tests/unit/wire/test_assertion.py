"""Nothing but a fresh, intact statement of the hub for this endpoint is believed."""

from __future__ import annotations

import base64
import json
import math

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chamberlain_wire.assertion import (
    Assertion,
    AssertionRefusedError,
    LinkedIdentity,
    check_addressed,
    open_signed,
    request_digest,
    sign,
)
from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import ASSERTION_LIFETIME_S, CLOCK_SKEW_S, MAX_ASSERTION_BYTES

KEY = Ed25519PrivateKey.generate()
NOW = 1_800_000_000.0


def an_assertion(**changes: object) -> Assertion:
    fields: dict[str, object] = {
        "id": new_id(),
        "endpoint": new_id(),
        "user_endpoint": new_id(),
        "identity": new_id(),
        "username": "alice@example.edu",
        "identities": (LinkedIdentity(id=new_id(), username="alice@example.edu"),),
        "request_digest": request_digest({}, None),
        "source": "127.0.0.1",
        "issued_at": NOW,
        "expires_at": NOW + ASSERTION_LIFETIME_S,
    }
    return Assertion(**(fields | changes))  # type: ignore[arg-type]


def test_what_was_signed_is_what_is_read() -> None:
    assertion = an_assertion()
    assert open_signed(sign(assertion, KEY), [KEY.public_key()]) == assertion


def test_any_of_several_keys_will_do() -> None:
    other = Ed25519PrivateKey.generate().public_key()
    assertion = an_assertion()
    assert open_signed(sign(assertion, KEY), [other, KEY.public_key()]) == assertion


def test_another_key_is_refused() -> None:
    with pytest.raises(AssertionRefusedError, match="no key"):
        open_signed(sign(an_assertion(), Ed25519PrivateKey.generate()), [KEY.public_key()])


@given(place=st.integers(min_value=0, max_value=2000), bit=st.integers(min_value=0, max_value=7))
def test_one_flipped_bit_is_refused(place: int, bit: int) -> None:
    assertion = an_assertion()
    token = bytearray(sign(assertion, KEY))
    token[place % len(token)] ^= 1 << bit
    try:
        # The last character of unpadded base64 has bits that mean nothing: same statement.
        assert open_signed(bytes(token), [KEY.public_key()]) == assertion
    except AssertionRefusedError:
        return


@given(st.binary(max_size=300))
def test_noise_is_refused(token: bytes) -> None:
    with pytest.raises(AssertionRefusedError):
        open_signed(token, [KEY.public_key()])


def test_a_long_statement_is_refused_unread() -> None:
    with pytest.raises(AssertionRefusedError, match="bytes"):
        open_signed(b"x" * (MAX_ASSERTION_BYTES + 1), [KEY.public_key()])


@pytest.mark.parametrize(
    "payload",
    [
        {},
        [],
        "text",
        {"identities": [{"id": 1}]},
        {"identities": 7},
    ],
    ids=repr,
)
def test_a_signed_statement_of_another_shape_is_refused(payload: object) -> None:
    body = json.dumps(payload).encode()
    signature = KEY.sign(b"chamberlain-assertion-v1\x00" + body)
    token = base64.urlsafe_b64encode(body) + b"." + base64.urlsafe_b64encode(signature)
    with pytest.raises(AssertionRefusedError):
        open_signed(token.replace(b"=", b""), [KEY.public_key()])


@pytest.mark.parametrize("field", ["issued_at", "expires_at"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_time_that_is_no_time_is_refused(field: str, value: float) -> None:
    with pytest.raises(AssertionRefusedError):
        open_signed(sign(an_assertion(**{field: value}), KEY), [KEY.public_key()])


def test_fresh_and_ours_passes() -> None:
    assertion = an_assertion()
    check_addressed(assertion, endpoint=assertion.endpoint, now=NOW + 1)


@pytest.mark.parametrize(
    ("changes", "now", "why"),
    [
        ({"endpoint": new_id()}, NOW, "for endpoint"),
        ({}, NOW + ASSERTION_LIFETIME_S + 1, "expired"),
        ({}, NOW - CLOCK_SKEW_S - 1, "future"),
        ({"expires_at": NOW + ASSERTION_LIFETIME_S + 1}, NOW, "longer"),
    ],
)
def test_not_ours_or_not_fresh_is_refused(changes: dict[str, object], now: float, why: str) -> None:
    ours = an_assertion().endpoint
    assertion = an_assertion(**({"endpoint": ours} | changes))
    with pytest.raises(AssertionRefusedError, match=why):
        check_addressed(assertion, endpoint=ours, now=now)


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4))
def test_the_digest_does_not_depend_on_key_order(options: dict[str, int]) -> None:
    backwards = dict(reversed(options.items()))
    assert request_digest(options, None) == request_digest(backwards, None)
    assert request_digest({**options, "other-key": 1}, None) != request_digest(options, None)
