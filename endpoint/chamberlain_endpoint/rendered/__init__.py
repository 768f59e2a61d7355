"""The rendered user endpoint configuration: what a site's template may say, checked once."""

from chamberlain_endpoint.rendered.config import (
    Paths,
    UserEndpointConfig,
    from_json,
    parse,
    to_json,
)
from chamberlain_endpoint.rendered.engines import (
    ENGINE_TYPES,
    Engine,
    HtexEngine,
    ProcessPoolEngine,
    ThreadPoolEngine,
)
from chamberlain_endpoint.rendered.faults import ConfigInvalidError

__all__ = [
    "ENGINE_TYPES",
    "ConfigInvalidError",
    "Engine",
    "HtexEngine",
    "Paths",
    "ProcessPoolEngine",
    "ThreadPoolEngine",
    "UserEndpointConfig",
    "from_json",
    "parse",
    "to_json",
]
