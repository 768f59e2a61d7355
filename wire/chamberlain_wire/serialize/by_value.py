"""dill, so that the user's own modules travel along instead of being imported on the worker.

The public clients pickle a function of an importable module by its name, and the worker, which
does not have that module, answers ModuleNotFoundError. Here functions, classes and modules that
are not installed (see `origin.travels`) are written by value, and a function brings the globals
that its code names, also from a script's `__main__`, with what those need in turn. What comes
out calls nothing but the standard library and dill: `dill.loads` reads it anywhere.

dill's own `recurse` setting was tried first: it finds globals by redirecting the whole
process's standard output to a disassembly, still writes helpers of an importable module by
name, and gives each function its own copy of a global. cloudpickle would need cloudpickle on
the worker.

Functions and classes are made empty first and filled at once, so that they may refer to
themselves and each other. On the way back, a class that was sent by value is the caller's own
class again when it is found under its name: `except MyError` and `isinstance` do what they say.
"""

from __future__ import annotations

import io
import operator
import pickle
import sys
from collections import namedtuple
from collections.abc import Mapping
from enum import Enum
from functools import partial
from types import CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, Final, TypeVar

import dill
from dill import _dill

from chamberlain_wire.serialize.origin import SINGLES, globals_of, submodules_of, travels

# Any Python that runs our workers reads it; a newer interpreter would choose a newer one.
_PROTOCOL: Final = 5
_AT_BIRTH: Final = ("__module__", "__qualname__", "__doc__", "__slots__", "__orig_bases__")
_NOT_SENT: Final = frozenset({*_AT_BIRTH, "__dict__", "__weakref__", "_abc_impl"})
_FUNCTION_FIELDS: Final = (
    "__doc__",
    "__module__",
    "__qualname__",
    "__kwdefaults__",
    "__annotations__",
)


def dumps(value: object) -> bytes:
    """Return `value` as bytes that `dill.loads` reads, the user's own modules included."""
    try:
        file = io.BytesIO()
        _QuickPickler(file, _PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - whatever it is: dill can, or says better why not
        file = io.BytesIO()
        _Pickler(file, protocol=_PROTOCOL, recurse=False, byref=False).dump(value)
    return file.getvalue()


def loads(data: bytes, *, home: bool) -> Any:
    """Return the object in `data`. Runs code that the sender chose.

    Args:
        home: this is the process whose classes may come back; find them again by their names.
            On a worker that would be wrong: the same name may mean another class there.
    """
    file = io.BytesIO(data)
    return (_HomeUnpickler(file) if home else _Unpickler(file)).load()


class _NeedsDillError(Exception):
    """Something in the graph must go by value."""


class _QuickPickler(pickle.Pickler):
    """The C pickler, for data that refers to nothing of the user's own: a hundred times faster."""

    def reducer_override(self, obj: Any) -> Any:
        """Refuse what must go by value; leave the rest to pickle."""
        if isinstance(obj, ModuleType) or id(obj) in SINGLES:
            raise _NeedsDillError
        # Of an instance this is its class's module, so that instances are covered as well.
        module = getattr(obj, "__module__", None)
        if (module is not None or isinstance(obj, type | FunctionType)) and travels(module):
            raise _NeedsDillError
        return NotImplemented


class _Pickler(dill.Pickler):  # type: ignore[misc]  # dill has no types
    """Writes one object graph."""

    def __init__(self, file: io.BytesIO, **options: Any) -> None:
        super().__init__(file, **options)
        # id of a function's globals -> the dictionary that stands for it on the other side,
        # shared by all its functions, so that `global x` means one x there, too.
        self._globals: dict[int, dict[str, Any]] = {}
        self._set_there: set[tuple[int, str]] = set()
        self._filled: set[int] = set()

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write `obj`; see `pickle.Pickler.save`."""
        write = None if id(obj) in self.memo else self._own_way(obj)
        if write is None:
            super().save(obj, save_persistent_id)
        else:
            write(obj)

    def _own_way(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            return self._function if travels(obj.__module__) else None
        if isinstance(obj, type):
            return self._class if travels(obj.__module__) else None
        if kind is ModuleType:
            return self._module if obj.__name__ != "__main__" and travels(obj.__name__) else None
        if kind is CellType:
            return self._cell
        if kind is TypeVar:
            return self._type_variable if travels(obj.__module__) else None
        return self._single if id(obj) in SINGLES else None

    def _function(self, function: FunctionType) -> None:
        there = self._globals.setdefault(
            id(function.__globals__), {"__name__": function.__module__}
        )
        cells = function.__closure__ or ()
        new_cells = [cell for cell in cells if id(cell) not in self.memo]
        for cell in new_cells:
            self._drop(lambda cell=cell: self.save_reduce(CellType, (), obj=cell))
        made = (
            function.__code__,
            there,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        self.save_reduce(FunctionType, made, obj=function)
        for cell in new_cells:
            self._fill_cell(cell)
        named = globals_of(function)
        if reached := submodules_of(function, named):
            # Writing them is enough: reading them imports them.
            self._drop(lambda: self.save(reached))
        for name, value in named.items():
            if (id(there), name) not in self._set_there:
                self._call(operator.setitem, there, name, value)
                # Not before: what the value leads to may need this name while it is read.
                self._set_there.add((id(there), name))
        fields = {name: getattr(function, name) for name in _FUNCTION_FIELDS}
        self._set_all(function, {**fields, **function.__dict__})

    def _class(self, cls: type) -> None:
        if issubclass(cls, Enum):
            content = self._enumeration(cls)
        elif cls.__bases__ == (tuple,) and hasattr(cls, "_fields"):
            content = self._named_tuple(cls)
        else:
            content = self._plain_class(cls)
        # A base or a member may have led back here and finished the work already.
        if id(cls) not in self._filled:
            self._filled.add(id(cls))
            self._set_all(cls, content)

    def _plain_class(self, cls: type) -> dict[str, Any]:
        birth = {name: vars(cls)[name] for name in _AT_BIRTH if name in vars(cls)}
        birth["__qualname__"] = cls.__qualname__
        made = (type(cls), cls.__name__, cls.__bases__, birth)
        self.save_reduce(_dill._create_type, made, obj=cls)
        return {
            name: value
            for name, value in vars(cls).items()
            if name not in _NOT_SENT
            and not isinstance(value, MemberDescriptorType | GetSetDescriptorType)
        }

    def _enumeration(self, cls: type[Enum]) -> dict[str, Any]:
        members = [(name, one.value) for name, one in cls.__members__.items()]
        *mixins, base = cls.__bases__
        options: dict[str, Any] = {"module": cls.__module__, "qualname": cls.__qualname__}
        if mixins:
            options["type"] = mixins[0]
        make = partial(base, **options)
        self.save_reduce(_dill._create_type, (make, cls.__name__, members), obj=cls)
        for member in cls.__members__.values():
            own = {name: value for name, value in vars(member).items() if name[0] != "_"}
            self._set_all(member, own)
        # What the class statement added to the members; the rest enum makes itself.
        return {
            name: value
            for name, value in vars(cls).items()
            if isinstance(value, FunctionType | property | classmethod | staticmethod)
            and travels(_module_of(value))
            and name not in _NOT_SENT
        }

    def _named_tuple(self, cls: type) -> dict[str, Any]:
        fields = tuple(cls._fields)  # type: ignore[attr-defined]
        defaults = tuple(cls._field_defaults.values())  # type: ignore[attr-defined]
        make = partial(namedtuple, defaults=defaults, module=cls.__module__)
        self.save_reduce(_dill._create_type, (make, cls.__name__, fields), obj=cls)
        bare = vars(namedtuple("_Bare", fields))
        return {
            name: value
            for name, value in vars(cls).items()
            if name not in bare and name not in _NOT_SENT
        } | {"__qualname__": cls.__qualname__}

    def _module(self, module: ModuleType) -> None:
        content = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        self.save_reduce(ModuleType, (module.__name__, module.__doc__), content, obj=module)

    def _cell(self, cell: CellType) -> None:
        self.save_reduce(CellType, (), obj=cell)
        self._fill_cell(cell)

    def _fill_cell(self, cell: CellType) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # empty here, so empty there
            return
        self._call(setattr, cell, "cell_contents", content)

    def _type_variable(self, variable: TypeVar) -> None:
        make = partial(
            TypeVar,
            variable.__name__,
            *variable.__constraints__,
            bound=variable.__bound__,
            covariant=variable.__covariant__,
            contravariant=variable.__contravariant__,
        )
        self.save_reduce(make, (), obj=variable)

    def _single(self, obj: object) -> None:
        self.save_reduce(getattr, SINGLES[id(obj)], obj=obj)

    def _set_all(self, target: object, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self._call(setattr, target, name, value)

    def _call(self, function: Any, *args: Any) -> None:
        self._drop(lambda: self.save_reduce(function, args))

    def _drop(self, write: Any) -> None:
        """Do it for its effect; the value that it leaves on the reader's stack goes."""
        write()
        self.write(pickle.POP)


def _module_of(value: object) -> str | None:
    inner = getattr(value, "fget", None) or getattr(value, "__func__", value)
    return getattr(inner, "__module__", None)


class _Unpickler(pickle.Unpickler):
    """Reads what dill wrote, at the speed of C."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what `module.name` stands for here: dill has spellings of its own."""
        if module == "__builtin__" and name == "NoneType":
            return type(None)
        if (module, name) in (("__builtin__", "__main__"), ("__main__", "__dict__")):
            return vars(sys.modules["__main__"])
        if module == "dill.dill":
            module = "dill._dill"
        return super().find_class(module, name)


class _HomeUnpickler(_Unpickler):
    """Reads where the classes came from that were sent by value."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._found: set[int] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Return what `module.name` stands for here."""
        if (module, name) == ("dill._dill", "_create_type"):
            return self._class
        if (module, name) == ("builtins", "setattr"):
            return self._setattr
        return super().find_class(module, name)

    def _class(self, make: Any, name: str, *more: Any) -> Any:
        told = make.keywords if isinstance(make, partial) else {}
        birth = more[-1] if more and isinstance(more[-1], dict) else {}
        module = sys.modules.get(str(told.get("module") or birth.get("__module__")))
        own: Any = module
        for part in (told.get("qualname") or birth.get("__qualname__") or name).split("."):
            own = getattr(own, part, None)
        if isinstance(own, type):
            self._found.add(id(own))
            return own
        return _dill._create_type(make, name, *more)

    def _setattr(self, target: object, name: str, value: object) -> None:
        # What the other side's copy looks like is no reason to change the class that is here.
        if id(target) not in self._found:
            setattr(target, name, value)
