"""What to do about an error that the worker's own Python is the reason for."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Final

_NOT_IN_MODULE: Final = re.compile(r"attribute '[^']{1,100}' on <module '([A-Za-z0-9_.]{1,100})'")
_DEEPEST: Final = 5


def advice_on(error: BaseException) -> str:
    """Return a paragraph to put behind the text of `error`; empty when there is no advice.

    It names the module, and the Python that lacks it.
    """
    for one in _causes(error):
        if isinstance(one, ModuleNotFoundError) and one.name:
            return (
                f"\nThe module {one.name!r} is missing in {_this_python()}. Install it for that "
                "Python, or have the endpoint's worker_init activate an environment that has it. "
                "Modules of your own travel with the function, unless they are installed packages "
                "where it is sent from."
            )
        if isinstance(one, AttributeError) and (found := _NOT_IN_MODULE.search(str(one))):
            module = found[1]
            return (
                f"\nThe module {module!r}{_version_of(module)} is another one in {_this_python()} "
                "than where the function was sent from. Install the same version on both sides, "
                "have the endpoint's worker_init activate an environment that has it, or send "
                "source (AllCodeStrategies)."
            )
    return ""


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while len(found) < _DEEPEST and (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def _this_python() -> str:
    return f"Python {platform.python_version()} ({sys.executable}) on {platform.node()}"


def _version_of(module: str) -> str:
    for package in packages_distributions().get(module.partition(".")[0], ()):
        try:
            return f" (version {version(package)})"
        except PackageNotFoundError:
            continue
    return ""
