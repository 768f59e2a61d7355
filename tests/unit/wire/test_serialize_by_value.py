"""Functions of the user's own modules run where those modules are not installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chamberlain_wire.ids import new_id
from chamberlain_wire.serialize import (
    assume_installed,
    pack_exception,
    pack_function,
    pack_payload,
    pack_result,
    unpack_exception,
    unpack_result,
    unpack_task,
)
from chamberlain_wire.serialize.origin import travels

SOURCE = (Path(__file__).parent / "own_module.py.txt").read_text()
NOTHING = pack_payload((), {})


class Away:
    """Two modules of the user, that can be taken away from this process, as on a worker."""

    def __init__(self, folder: Path) -> None:
        self.name = f"own_{new_id().replace('-', '')}"
        self.helpers = f"{self.name}_helpers"
        (folder / f"{self.name}.py").write_text(SOURCE.format(helpers=self.helpers))
        (folder / f"{self.helpers}.py").write_text(
            "def add(a, b):\n    return _add(a, b)\ndef _add(a, b):\n    return a + b\n"
        )
        self.folder = str(folder)
        sys.path.insert(0, self.folder)
        self.module = importlib.import_module(self.name)
        self._kept: dict[str, ModuleType] = {}

    def leave(self) -> None:
        sys.path.remove(self.folder)
        for name in (self.name, self.helpers):
            self._kept[name] = sys.modules.pop(name)

    def come_back(self) -> None:
        sys.path.insert(0, self.folder)
        sys.modules.update(self._kept)

    def end(self) -> None:
        if self.folder in sys.path:
            sys.path.remove(self.folder)
        for name in (self.name, self.helpers):
            sys.modules.pop(name, None)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Away]:
    away = Away(tmp_path)
    yield away
    away.end()


def test_all_that_an_own_module_holds_works_without_it(own: Away) -> None:
    expected = own.module.everything()
    task = pack_function(own.module.everything) + NOTHING
    own.leave()
    function, args, kwargs = unpack_task(task)
    assert function(*args, **kwargs) == expected
    assert own.name not in sys.modules


def test_own_values_travel_as_arguments(own: Away) -> None:
    task = pack_function(lambda *some: [type(one).__name__ for one in some]) + pack_payload(
        tuple(own.module.values()), {}
    )
    own.leave()
    function, args, _ = unpack_task(task)
    assert function(*args) == ["Point", "Colour", "Pair", "Level", "Inner", "OwnError"]


def test_own_classes_come_back_as_themselves(own: Away) -> None:
    task = pack_function(own.module.values) + NOTHING
    own.leave()
    function, _, _ = unpack_task(task)
    packed = pack_result(function())
    own.come_back()
    values = unpack_result(packed)
    assert [type(one) for one in values] == [type(one) for one in own.module.values()]
    assert values[0] == own.module.Point(7)
    assert values[1] is own.module.Colour.BLUE


def test_the_class_that_is_here_is_not_changed_by_what_comes_back(own: Away) -> None:
    packed = pack_result([own.module.Point(1)])
    norm = own.module.Point.norm
    own.module.Point.norm = "changed here"
    unpack_result(packed)
    assert own.module.Point.norm == "changed here"
    own.module.Point.norm = norm


def test_an_own_exception_is_caught_under_its_own_class(own: Away) -> None:
    task = pack_function(own.module.boom) + NOTHING
    own.leave()
    function, _, _ = unpack_task(task)
    with pytest.raises(Exception, match="on purpose") as caught:
        function()
    packed = pack_exception(caught.value)
    own.come_back()
    error = unpack_exception(packed)
    assert type(error) is own.module.OwnError
    assert error.args == ("on purpose", 3)


def test_a_worker_does_not_mistake_its_own_class_for_the_callers(own: Away) -> None:
    task = pack_function(own.module.values) + NOTHING
    function, _, _ = unpack_task(task)
    assert type(function()[0]) is not own.module.Point


def test_a_bound_method_of_an_own_object_travels(own: Away) -> None:
    task = pack_function(own.module.Point(2).norm) + NOTHING
    own.leave()
    function, _, _ = unpack_task(task)
    assert function() == 8


def test_what_is_installed_goes_by_name() -> None:
    assert not any(map(travels, ["json", "pytest", "dill", "chamberlain_wire.ids", "builtins"]))
    assert travels("__main__")
    assert len(pack_function(textwrap.dedent)) < 100


def test_a_package_can_be_declared_installed(own: Away) -> None:
    assert travels(own.name)
    assume_installed(own.name)
    assert not travels(own.name)
    assert len(pack_function(own.module.everything)) < 200


def test_a_script_needs_nothing_of_itself_on_the_worker(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            import math
            from dataclasses import dataclass
            from chamberlain_wire.serialize import pack_function, pack_payload

            FACTOR = 2

            @dataclass
            class Circle:
                radius: float
                def area(self):
                    return area(self.radius)

            def area(radius):
                return FACTOR * math.pi * radius

            def run(radius):
                return round(Circle(radius).area(), 2)

            print(pack_function(run) + pack_payload((1.0,), {}), end="")
            """
        )
    )
    packed = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=True
    )
    function, args, _ = unpack_task(packed.stdout)
    assert function(*args) == 6.28
