"""Lets parts of Parsl be imported without everything that Parsl's front doors load.

`import parsl.curvezmq` first runs `parsl/__init__.py`, which loads every executor, provider,
cloud client and, where it is installed, SQLAlchemy: a second of processor time, in each of
the five processes that a first block needs. `open_lazily` puts packages in their places that
run their `__init__.py` only when somebody asks for one of its names, so that
`from parsl import python_app` in user code still works.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, Final

_DOORS: Final = (
    "parsl",
    "parsl.executors",
    "parsl.launchers",
    "parsl.monitoring",
    "parsl.providers",
)


class _Door(ModuleType):
    """A package whose `__init__.py` has not run yet."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(name)
        # `from parsl import curvezmq` asks for a submodule as if it were a name.
        inner = f"{self.__name__}.{name}"
        if inner in sys.modules or PathFinder.find_spec(inner, list(self.__path__)):
            return import_module(inner)
        # From here on an ordinary module: what its `__init__.py` asks of itself is there.
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def open_lazily() -> None:
    """Do it, for those of the packages that are not imported yet."""
    path = None
    for name in _DOORS:
        if name not in sys.modules:
            spec = PathFinder.find_spec(name, path)
            if spec is None:
                return
            door = module_from_spec(spec)
            door.__class__ = _Door
            sys.modules[name] = door
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, door)
        path = list(sys.modules["parsl"].__path__)
