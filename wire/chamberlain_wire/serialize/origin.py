"""Where things come from: what the worker can import, and what must travel. Reads only."""

from __future__ import annotations

import dataclasses
import dis
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, Final

_GLOBAL_OPS: Final = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})
_OURS: Final = frozenset({"chamberlain", "chamberlain_wire", "chamberlain_endpoint"})

SINGLES: Final = MappingProxyType(
    {
        id(getattr(dataclasses, name)): (dataclasses, name)
        for name in ("MISSING", "KW_ONLY", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR")
    }
)
"""Objects that are compared by identity: id -> (module, name). A copy would not do."""

_assumed_installed: set[str] = set()


def assume_installed(*packages: str) -> None:
    """Send what belongs to these top-level packages by name: the worker has them.

    For packages that are installed on the cluster, but only linked or on the path here.
    """
    _assumed_installed.update(packages)
    travels.cache_clear()


@lru_cache(maxsize=4096)
def travels(module: str | None) -> bool:
    """Tell whether what is defined in `module` must go by value.

    It must when it is the user's own: the script itself, or Python source that is neither part
    of Python, nor below a site-packages folder, nor named by `assume_installed`; or when its
    module is nowhere to be found. Editable installs are the user's own, too.
    """
    if module is None or module == "__main__":
        return True
    top = module.partition(".")[0]
    if top in _OURS or top in _assumed_installed or top in sys.stdlib_module_names:
        return False
    if module not in sys.modules:
        # Something that came by value itself, as on a worker that packs a result.
        return True
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or not file.endswith(".py"):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _installed_folders())


def globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the globals that the code of `function` names, as they are now."""
    here = function.__globals__
    names = set().union(*map(_global_names, _codes(function.__code__)))
    return {name: here[name] for name in sorted(names) if name in here}


def submodules_of(function: FunctionType, named: dict[str, Any]) -> list[ModuleType]:
    """Return the modules that `function` seems to reach through others in `named`.

    `import a.b` makes a global `a` only; the reader must import `a.b`, too.
    """
    attributes = {name for code in _codes(function.__code__) for name in code.co_names}
    parts = [value for value in named.values() if type(value) is ModuleType]
    direct = len(parts)
    for part in parts:  # grows while it runs: `a.b.c` needs `a.b`
        reached = (sys.modules.get(f"{part.__name__}.{name}") for name in sorted(attributes))
        parts.extend(one for one in reached if type(one) is ModuleType and one not in parts)
    return parts[direct:]


def _installed_folders() -> Iterator[Path]:
    yield Path(sysconfig.get_path("stdlib")).resolve()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path}:
        if Path(folder).name in ("site-packages", "dist-packages"):
            yield Path(folder).resolve()


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> frozenset[str]:
    return frozenset(
        str(one.argval) for one in dis.get_instructions(code) if one.opname in _GLOBAL_OPS
    )
