"""A user of an endpoint that runs listed functions only tries to run something else, on site.

The user endpoint is a real process and RabbitMQ a real one. The tasks are what a user could
have the hub send, or what a hub that cheats could send itself. Each attempt would leave a file
behind if any part of it were opened or run.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chamberlain_wire import topology
from chamberlain_wire.allowed import sha256_of
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import pack_source, unpack_result
from chamberlain_wire.serialize.buffers import join
from devtools.rabbit import PrivateRabbit
from devtools.user_endpoint import HubSide, UserEndpointProcess

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]

LISTED, PINNED, OTHER = new_id(), new_id(), new_id()
GOOD = pack_source("double", "def double(number):\n    return 2 * number\n")
ANY_ID = pack_source("triple", "def triple(number):\n    return 3 * number\n")
REFUSED = ("FUNCTION_NOT_PERMITTED", "SERIALIZATION", "INVALID_MESSAGE")

FUNCTION = topology.HEADER_FUNCTION


def evil_source(marker: Path) -> str:
    touch = f"open({str(marker)!r}, 'w').close()\n"
    return f"{touch}def evil(*args, **kwargs):\n    {touch}"


def evil_pickle(marker: Path) -> str:
    """A pickle that makes the file when it is read."""
    text = f"cposix\nopen\n(V{marker}\nI{os.O_CREAT | os.O_RDWR}\ntR.".encode()
    return base64.b64encode(text).decode()


def js(value: object) -> str:
    return f"11\n{json.dumps(value)}"


ARGS, KWARGS = js([21]), js({})
PAYLOAD = join([ARGS, KWARGS])


@dataclass(frozen=True)
class Attempt:
    """A buffer and its headers; `None` as a header leaves it out."""

    buffer: Callable[[Path], str]
    headers: dict[str, Any]


def evil(marker: Path) -> str:
    return pack_source("evil", evil_source(marker))


def with_args(part: Callable[[Path], str]) -> Callable[[Path], str]:
    return lambda marker: GOOD + join([part(marker), KWARGS])


def with_kwargs(part: Callable[[Path], str]) -> Callable[[Path], str]:
    return lambda marker: GOOD + join([ARGS, part(marker)])


ATTEMPTS = {
    # Which function it is said to be.
    "a function that is not listed": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: OTHER}),
    "listed code under another id": Attempt(lambda m: GOOD + PAYLOAD, {FUNCTION: OTHER}),
    "other code under the pinned id": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: PINNED}),
    "an id that is none": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: "double"}),
    "an empty id": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: ""}),
    "no id": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: None}),
    "two ids": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: f"{LISTED},{OTHER}"}),
    "a list of ids": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: [LISTED, OTHER]}),
    "an id with a tail": Attempt(lambda m: evil(m) + PAYLOAD, {FUNCTION: f"{LISTED}\0x"}),
    "an entry in place of an id": Attempt(
        lambda m: ANY_ID + PAYLOAD + evil(m), {FUNCTION: "sha256:" + sha256_of(ANY_ID)}
    ),
    # Where the code ends.
    "a longer function": Attempt(
        lambda m: join([GOOD.partition("\n")[2] + evil_source(m)]) + PAYLOAD, {FUNCTION: PINNED}
    ),
    "a length with a zero before it": Attempt(
        lambda m: "0" + evil(m) + PAYLOAD, {FUNCTION: PINNED}
    ),
    "a length beyond the end": Attempt(lambda m: "9" + evil(m) + PAYLOAD, {FUNCTION: PINNED}),
    "a length in other digits": Attempt(
        lambda m: "\u0665\n" + evil(m) + PAYLOAD, {FUNCTION: PINNED}
    ),
    "no length": Attempt(lambda m: "st\n" + evil_source(m), {FUNCTION: PINNED}),
    "the listed function first, another behind it": Attempt(
        lambda m: GOOD + evil(m) + PAYLOAD, {FUNCTION: PINNED}
    ),
    "a function in front of the listed one": Attempt(
        lambda m: evil(m) + GOOD + PAYLOAD, {FUNCTION: PINNED}
    ),
    "the listed function as an argument of another": Attempt(
        lambda m: evil(m) + join([GOOD.partition("\n")[2], KWARGS]), {FUNCTION: PINNED}
    ),
    # What arguments are.
    "pickled arguments": Attempt(with_args(lambda m: "00\n" + evil_pickle(m)), {FUNCTION: PINNED}),
    "pickled keywords": Attempt(with_kwargs(lambda m: "00\n" + evil_pickle(m)), {FUNCTION: PINNED}),
    "a pickled function as arguments": Attempt(
        with_args(lambda m: "01\n" + evil_pickle(m)), {FUNCTION: PINNED}
    ),
    "an old pickled function as arguments": Attempt(
        with_args(lambda m: "02\n" + evil_pickle(m)), {FUNCTION: PINNED}
    ),
    "source as arguments": Attempt(
        with_args(lambda m: f"st\nevil:{evil_source(m)}"), {FUNCTION: PINNED}
    ),
    "source as keywords": Attempt(
        with_kwargs(lambda m: f"st\nevil:{evil_source(m)}"), {FUNCTION: PINNED}
    ),
    "arguments in all ways at once": Attempt(
        with_args(lambda m: "13\n" + join(["00\n" + evil_pickle(m), ARGS])), {FUNCTION: PINNED}
    ),
    "a combined function as arguments": Attempt(
        with_args(lambda m: f"10\nst\n:evil:{evil_source(m)}"), {FUNCTION: PINNED}
    ),
    "all strategies of functions as arguments": Attempt(
        with_args(lambda m: "12\n" + join([f"st\nevil:{evil_source(m)}"])), {FUNCTION: PINNED}
    ),
    "arguments of no known strategy": Attempt(
        with_args(lambda m: "99\n" + evil_pickle(m)), {FUNCTION: PINNED}
    ),
    # What comes beside it.
    "code in the resource specification": Attempt(
        lambda m: evil(m) + PAYLOAD,
        {FUNCTION: OTHER, topology.HEADER_RESOURCES: json.dumps({"function_uuid": LISTED})},
    ),
    "another way for the result, which is code": Attempt(
        with_args(lambda m: "00\n" + evil_pickle(m)),
        {FUNCTION: PINNED, topology.HEADER_SERIALIZERS: ["DillDataBase64", "DillCode"]},
    ),
}
"""By what the user tries. The endpoint pins `PINNED`, and reads source and JSON only."""


@pytest.fixture(scope="module")
def hub(rabbit: PrivateRabbit) -> Iterator[HubSide]:
    one = HubSide(rabbit.amqp_url)
    one.open()
    yield one
    one.close()


@pytest.fixture(scope="module")
def endpoint(hub: HubSide, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSide]:
    config = {
        "engine": {
            "type": "ThreadPoolEngine",
            "allowed_serializers": ["PureSourceTextInspect", "globus_compute_sdk.JSONData"],
        },
        "allowed_functions": [
            LISTED,
            {"id": PINNED, "sha256": sha256_of(GOOD)},
            f"sha256:{sha256_of(ANY_ID)}",
        ],
    }
    process = UserEndpointProcess(hub, tmp_path_factory.mktemp("user"), config)
    yield hub
    process.end()


def run(hub: HubSide, buffer: str, headers: dict[str, Any]) -> Result:
    named = TaskId(new_id())
    hub.submit_buffer(buffer, task_id=named, **headers)
    return hub.await_results([named])[named][0]


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 20


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_else_runs(endpoint: HubSide, tmp_path: Path, name: str) -> None:
    attempt, marker = ATTEMPTS[name], tmp_path / "it ran"
    result = run(endpoint, attempt.buffer(marker), attempt.headers)
    assert result.error_details is not None
    assert result.error_details.code in REFUSED, result.data
    assert not marker.exists()


@pytest.mark.parametrize(
    ("function", "code", "value"),
    [(LISTED, GOOD, 42), (PINNED, GOOD, 42), (OTHER, ANY_ID, 63)],
    ids=["by id", "by id and hash", "by hash"],
)
def test_what_is_listed_runs(endpoint: HubSide, function: str, code: str, value: int) -> None:
    result = run(endpoint, code + PAYLOAD, {FUNCTION: function})
    assert unpack_result(result.data) == value


def test_an_id_alone_trusts_the_hub_for_the_code(endpoint: HubSide, tmp_path: Path) -> None:
    """Why a site pins the hash: the hub chooses what stands behind an id."""
    marker = tmp_path / "it ran"
    run(endpoint, evil(marker) + PAYLOAD, {FUNCTION: LISTED})
    assert marker.exists()


def test_the_refusal_names_function_and_hash(endpoint: HubSide, tmp_path: Path) -> None:
    code = evil(tmp_path / "it ran")
    said = run(endpoint, code + PAYLOAD, {FUNCTION: PINNED}).data
    assert PINNED in said
    assert sha256_of(code) in said


def test_the_refusal_names_the_strategy_and_the_allowed_ones(
    endpoint: HubSide, tmp_path: Path
) -> None:
    attempt = ATTEMPTS["pickled arguments"]
    said = run(endpoint, attempt.buffer(tmp_path / "it ran"), attempt.headers).data
    assert "The arguments came by DillDataBase64" in said
    assert "JSONData" in said


def test_pickled_arguments_run_code_where_they_are_allowed(
    hub: HubSide, rabbit: PrivateRabbit, tmp_path: Path
) -> None:
    """What the documentation says: an allow-list alone does not stop what pickle can do."""
    other = HubSide(rabbit.amqp_url)
    other.open()
    config = {"engine": {"type": "ThreadPoolEngine"}, "allowed_functions": [f"{PINNED}"]}
    process = UserEndpointProcess(other, tmp_path, config)
    marker = tmp_path / "it ran"
    attempt = ATTEMPTS["pickled arguments"]
    run(other, attempt.buffer(marker), attempt.headers)
    process.end()
    other.close()
    assert marker.exists()
