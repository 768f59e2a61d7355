"""The rendered user endpoint configuration: what a site's template may say, checked once.

Who checks uses the names below; who works by a checked one uses `rendered.settled`, which
loads without the library that the checks need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chamberlain_endpoint.rendered.config import UserEndpointConfig, from_json, parse, to_json
    from chamberlain_endpoint.rendered.engines import ENGINE_TYPES
    from chamberlain_endpoint.rendered.faults import ConfigInvalidError

__all__ = [
    "ENGINE_TYPES",
    "ConfigInvalidError",
    "UserEndpointConfig",
    "from_json",
    "parse",
    "to_json",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chamberlain_endpoint.rendered import config, engines, faults

    for module in (config, engines, faults):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)
