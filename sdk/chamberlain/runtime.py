"""Facts of the caller's Python, in the shape that endpoint templates expect."""

from __future__ import annotations

import functools
import platform
import sys
from typing import Any, Final

PUBLIC_SDK: Final = "4.19.0"
"""The version of the public clients whose formats we speak: templates compare and install it."""


@functools.cache
def user_runtime() -> dict[str, Any]:
    """Return what templates read as `_GC.user_runtime`. Do not change it."""
    return {
        "globus_compute_sdk_version": PUBLIC_SDK,
        "globus_sdk_version": "4.9.1",
        "chamberlain_version": version(),
        "python_version": sys.version,
        "python": {
            "version": platform.python_version(),
            "version_description": sys.version,
            "version_tuple": list(sys.version_info[:3]),
            "version_info": list(sys.version_info),
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
        },
        "platform": {
            "architecture": list(platform.architecture()),
            "machine": platform.machine(),
            "node": platform.node(),
            "platform": platform.platform(),
            "processor": platform.processor(),
            "release": platform.release(),
        },
    }


def function_meta(serializer: str) -> dict[str, str]:
    """Return what a registration says about where the function comes from."""
    return {
        "python_version": platform.python_version(),
        "sdk_version": PUBLIC_SDK,
        "serde_identifier": serializer,
    }


@functools.cache
def dill_version() -> str:
    """Return the version of dill, which packs functions and data."""
    from importlib.metadata import version as installed

    return installed("dill")


@functools.cache
def version() -> str:
    """Return the version of this distribution."""
    from importlib.metadata import version as installed

    return installed("chamberlain")
