from __future__ import annotations

from typing import Any

import pytest

from chamberlain.functions import Functions, registered
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import new_id
from chamberlain_wire.serialize import DEFAULT

LIMIT = 1


def above(number: int) -> bool:
    return number > LIMIT


class Hub:
    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def register(self, body: dict[str, Any]) -> str:
        self.bodies.append(body)
        return new_id()


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def functions(hub: Hub) -> Functions:
    return Functions(DEFAULT, hub.register)


def test_the_same_function_is_packed_once(functions: Functions) -> None:
    assert functions.packed(above) is functions.packed(above)


def test_equal_content_is_registered_once(functions: Functions, hub: Hub) -> None:
    def make() -> Any:
        return lambda: 1

    first, second = functions.packed(make()), functions.packed(make())
    assert functions.id_of(first) == functions.id_of(second)
    assert len(hub.bodies) == 1


def test_a_rebound_global_makes_another_function(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = functions.packed(above)
    monkeypatch.setitem(above.__globals__, "LIMIT", 2)
    after = functions.packed(above)
    assert functions.id_of(before) != functions.id_of(after)


def test_a_rebound_closure_makes_another_function(functions: Functions) -> None:
    factor = 1

    def scaled(number: int) -> int:
        return number * factor

    before = functions.packed(scaled)
    factor = 2
    assert functions.packed(scaled) != before


def test_a_forgotten_function_is_registered_again(functions: Functions, hub: Hub) -> None:
    packed = functions.packed(above)
    functions.id_of(packed)
    functions.forget(packed)
    functions.id_of(packed)
    assert len(hub.bodies) == 2


def test_a_callable_object_is_packed_each_time(functions: Functions) -> None:
    class Adder:
        def __init__(self) -> None:
            self.amount = 1

        def __call__(self, number: int) -> int:
            return number + self.amount

    adder = Adder()
    before = functions.packed(adder)
    adder.amount = 2
    assert functions.packed(adder) != before
    assert before.name == "Adder"


def test_a_registration_says_where_it_comes_from(functions: Functions, hub: Hub) -> None:
    functions.id_of(functions.packed(above))
    assert hub.bodies[0]["function_name"] == "above"
    assert hub.bodies[0]["meta"]["serde_identifier"] == "01"


def test_an_id_must_be_one(functions: Functions) -> None:
    with pytest.raises(InvalidIdError):
        registered("above")
