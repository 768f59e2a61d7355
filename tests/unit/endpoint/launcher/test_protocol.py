"""Frames and requests: exactly these shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.launcher_builders import UEP, make_account

from chamberlain_endpoint.launcher import protocol
from chamberlain_endpoint.launcher.policy import AccountRefusedError
from chamberlain_wire.limits import MAX_LAUNCH_BYTES

REQUESTS = [
    protocol.Hello(),
    protocol.Admit("token"),
    protocol.Launch("token", UEP, "{}", "{}", {"A": "b"}),
    protocol.Stop(UEP, 2.5, "idle"),
    protocol.ListRunning(),
    protocol.Watch(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.kind)
def test_every_request_comes_out_as_it_went_in(request_: protocol.Request) -> None:
    data = protocol.frame(protocol.request_document(7, request_))
    (document,) = protocol.FrameReader().feed(data)
    assert document["id"] == 7
    assert protocol.parse_request(document) == request_


def test_frames_may_come_in_any_pieces() -> None:
    data = protocol.frame({"a": 1}) + protocol.frame({"b": 2})
    reader = protocol.FrameReader()
    found = [document for byte in data for document in reader.feed(bytes([byte]))]
    assert found == [{"a": 1}, {"b": 2}]


def test_a_frame_that_would_be_too_long_is_refused_by_its_head() -> None:
    head = (MAX_LAUNCH_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(protocol.FrameRefusedError, match="limit"):
        list(protocol.FrameReader().feed(head))
    with pytest.raises(protocol.FrameRefusedError, match="limit"):
        protocol.frame({"a": "x" * MAX_LAUNCH_BYTES})


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"\xff", b'{"a": NaN}', b"[" * 99_999])
def test_a_frame_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(protocol.FrameRefusedError):
        list(protocol.FrameReader().feed(len(body).to_bytes(4, "big") + body))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "run"},
        {"kind": None},
        {"kind": ["stop"]},
        {"account": "root"},
        {"user_endpoint": 7},
        {"user_endpoint": None},
        {"grace_s": "2"},
        {"grace_s": True},
        {"why": ...},
    ],
)
def test_a_request_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    document = protocol.request_document(1, protocol.Stop(UEP, 2.0, "idle")) | changes
    document = {name: value for name, value in document.items() if value is not ...}
    with pytest.raises(protocol.RequestRefusedError):
        protocol.parse_request(document)


def test_an_environment_holds_texts_only() -> None:
    document = protocol.request_document(1, REQUESTS[2])
    document["environment"] = {"A": 1}
    with pytest.raises(protocol.RequestRefusedError, match="environment"):
        protocol.parse_request(document)


def test_an_account_comes_out_as_it_went_in() -> None:
    account = make_account("alice", 1001, (1001, "alice"), (2000, "lab"))
    admitted = protocol.Admitted(account, "i", "u", "r")
    document = json.loads(json.dumps(protocol.answer_document(1, admitted)))
    assert protocol.parse_account(document["account"]) == account


def test_a_refusal_carries_the_word_the_sentence_and_the_detail() -> None:
    error = AccountRefusedError("alice is in x", public="Not you.")
    assert protocol.refusal_document(3, error) == {
        "id": 3,
        "ok": False,
        "code": "ACCOUNT_REFUSED",
        "public": "Not you.",
        "detail": "alice is in x",
    }


def test_credentials_do_not_show_in_a_representation() -> None:
    launch = protocol.Launch("secret", UEP, "{}", "hunter2", {"TOKEN": "hunter2"})
    assert "hunter2" not in repr(launch)
    assert "secret" not in repr(launch)
