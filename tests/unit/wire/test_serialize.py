"""Buffers, strategies and refusals; the public clients' own texts are read as they are."""

from __future__ import annotations

import datetime
import decimal
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chamberlain_wire.errors import SerializationError
from chamberlain_wire.serialize import (
    pack_exception,
    pack_function,
    pack_payload,
    pack_result,
    pack_source,
    parse_allowed,
    serializer,
    unpack_exception,
    unpack_result,
    unpack_task,
)
from chamberlain_wire.serialize.buffers import join, split
from chamberlain_wire.serialize.strategies import STRATEGIES

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_public.json").read_text())
"""Written by the public client on the Python that it names."""
WRITERS = [one.name for one in STRATEGIES if one.for_code and one.name != "PickleCode"]
DATA = [one.name for one in STRATEGIES if not one.for_code]
PLAIN = {"text": "grüß🙂\n:", "list": [1, 2.5, None, True], "nested": {"a": [{}]}}


def scaled(numbers: list[int], *, by: int = 2) -> list[int]:
    """Return numbers: scaled."""
    factor = {"by": by}
    return [number * factor["by"] for number in numbers]


@given(st.lists(st.text()))
def test_split_undoes_join(texts: list[str]) -> None:
    assert split(join(texts)) == texts


@pytest.mark.parametrize("text", ["x", "3\nab", "-1\nab", "+1\na", "1", "\n", "2\nab9", "1_0\na"])
def test_what_was_not_joined_is_refused(text: str) -> None:
    with pytest.raises(SerializationError):
        split(text)


@pytest.mark.parametrize("name", WRITERS)
def test_each_function_strategy_is_read_back(name: str) -> None:
    using = serializer(code=name)
    function, args, kwargs = unpack_task(
        pack_function(scaled, using) + pack_payload(([1, 2],), {"by": 3}, using)
    )
    assert function(*args, **kwargs) == [3, 6]


@pytest.mark.parametrize("name", DATA)
def test_each_data_strategy_is_read_back(name: str) -> None:
    assert unpack_result(pack_result(PLAIN, [name])) == PLAIN
    using = serializer(data=name)
    _, args, kwargs = unpack_task(pack_function(scaled) + pack_payload((1, "b"), PLAIN, using))
    assert (args, kwargs) == ((1, "b"), PLAIN)


# What is not source is bytecode, which only the Python that wrote it can run.
READABLE = [
    name
    for name in GOLDEN["code"]
    if "Pure" in name or GOLDEN["python"] == list(sys.version_info[:2])
]


@pytest.mark.parametrize("name", READABLE)
def test_functions_of_the_public_client_are_read(name: str) -> None:
    function, args, kwargs = unpack_task(GOLDEN["code"][name])
    assert function(*args, **kwargs) == [3, 6, 9]


@pytest.mark.parametrize("name", GOLDEN["data"])
def test_data_of_the_public_client_are_read(name: str) -> None:
    assert unpack_result(GOLDEN["data"][name]) == PLAIN


def test_objects_of_the_public_worker_are_read() -> None:
    assert unpack_result(GOLDEN["objects"]) == (
        datetime.date(2026, 11, 22),
        decimal.Decimal("1.5"),
        {1, 2},
        b"\x00\xff",
        complex(1, 2),
    )


def test_heads_are_the_public_identifiers() -> None:
    assert {one.name: one.identifier for one in STRATEGIES} == {
        "DillCode": "01",
        "PickleCode": "02",
        "DillCodeTextInspect": "03",
        "DillCodeSource": "04",
        "PureSourceTextInspect": "st",
        "PureSourceDill": "sd",
        "CombinedCode": "10",
        "AllCodeStrategies": "12",
        "DillDataBase64": "00",
        "JSONData": "11",
        "AllDataStrategies": "13",
    }


def test_source_is_registered_as_it_is() -> None:
    assert pack_source("one", "def one(): return 1") == "26\nst\none:def one(): return 1"


def test_a_traceback_of_a_source_function_shows_its_lines() -> None:
    import traceback

    function, _, _ = unpack_task(
        pack_source("fail", "def fail():\n    raise ValueError('here')\n") + pack_payload((), {})
    )
    try:
        function()
    except ValueError:
        assert "raise ValueError('here')" in traceback.format_exc()


def test_a_nested_function_goes_by_source() -> None:
    def nested() -> int:
        return 5

    packed = pack_function(nested, serializer(code="PureSourceTextInspect"))
    function, _, _ = unpack_task(packed + pack_payload((), {}))
    assert function() == 5


def test_a_lambda_has_no_source_name() -> None:
    with pytest.raises(SerializationError, match="Use a `def` function"):
        pack_function(lambda: 1, serializer(code="PureSourceTextInspect"))


def test_an_argument_that_cannot_travel_is_named() -> None:
    with pytest.raises(SerializationError, match=r"argument 2 \(generator\) cannot be sent"):
        pack_payload((1, (one for one in "ab")), {})
    with pytest.raises(SerializationError, match=r"argument 'x' \(set\) .* use DillDataBase64"):
        pack_payload((), {"x": {1}}, serializer(data="JSONData"))


def test_a_global_that_cannot_travel_is_told() -> None:
    running = (one for one in "ab")

    def function() -> object:
        return running

    with pytest.raises(SerializationError, match="The function 'function' cannot be sent"):
        pack_function(function)


def test_unknown_and_misplaced_names_are_refused_with_the_choice() -> None:
    with pytest.raises(SerializationError, match="Use one of: DillCode, "):
        serializer(code="JSONData")
    with pytest.raises(SerializationError, match="'Nonsense' is no data serialization strategy"):
        serializer(data="Nonsense")
    with pytest.raises(SerializationError, match="no serialization strategy known here"):
        unpack_result("zz\nabc")


def test_only_allowed_strategies_are_read() -> None:
    allowed = parse_allowed(["public_sdk.serialize.PureSourceTextInspect", "public_sdk.*Data"])
    source = pack_function(scaled, serializer(code="PureSourceTextInspect"))
    payload = pack_payload(([1],), {})
    function, args, _ = unpack_task(source + payload, allowed)
    assert function(*args) == [2]
    with pytest.raises(
        SerializationError, match=r"does not allow\. Send it with one of: PureSource"
    ):
        unpack_task(pack_function(scaled) + payload, allowed)


def test_an_allowed_list_needs_both_kinds() -> None:
    assert parse_allowed([]) is None
    with pytest.raises(SerializationError, match="at least one strategy for functions"):
        parse_allowed(["JSONData"])


def test_the_first_result_strategy_that_works_is_taken() -> None:
    assert pack_result({1, 2}, ["x.JSONData", "x.DillDataBase64"]).startswith("00\n")
    assert pack_result([1], ["JSONData", "DillDataBase64"]) == "11\n[1]"
    with pytest.raises(SerializationError, match="cannot be sent with JSONData"):
        pack_result({1, 2}, ["JSONData"])


def test_a_function_as_result_goes_as_code() -> None:
    packed = pack_result(scaled)
    assert packed.startswith("01\n")
    assert unpack_result(packed)([2]) == [4]
    with pytest.raises(SerializationError, match="Add DillCode"):
        pack_result(scaled, ["JSONData"])


def test_a_task_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(SerializationError, match="it has 2 parts"):
        unpack_task(pack_payload((), {}))
    with pytest.raises(SerializationError, match="not a function, a list and a dictionary"):
        unpack_task(pack_payload((), {}) + join([pack_result(1)]))


def test_a_missing_package_is_named() -> None:
    function = pack_source("use", "import not_there\ndef use(): pass\n")
    with pytest.raises(SerializationError, match="needs the module 'not_there'"):
        unpack_task(function + pack_payload((), {}))


def test_exceptions_travel_or_are_none() -> None:
    error = unpack_exception(pack_exception(ValueError("x", 1)))
    assert isinstance(error, ValueError)
    assert error.args == ("x", 1)
    assert pack_exception(ValueError(one for one in "ab")) is None
    assert unpack_exception("Traceback (most recent call last): ...") is None
    assert unpack_exception(None) is None
    assert unpack_exception(pack_result(5)) is None


class AwkwardError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def test_an_exception_that_would_not_read_is_not_sent() -> None:
    assert pack_exception(AwkwardError(1, 2)) is None


def test_threads_pack_at_the_same_time() -> None:
    packed: list[str] = []
    threads = [
        threading.Thread(target=lambda: packed.append(pack_function(scaled))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(packed)) == 1
