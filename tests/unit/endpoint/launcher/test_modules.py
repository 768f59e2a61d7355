"""What the launcher's process loads, whoever starts it."""

from __future__ import annotations

import json
import subprocess
import sys

FORBIDDEN = (
    "chamberlain_wire.broker",
    "chamberlain_wire.codec",
    "chamberlain_wire.messages",
    "chamberlain_wire.serialize",
    "chamberlain_endpoint.engine",
    "chamberlain_endpoint.manager",
    "chamberlain_endpoint.rendered",
    "chamberlain_endpoint.scheduler",
    "chamberlain_endpoint.user",
    "asyncio",
    "cloudpickle",
    "dill",
    "docker",
    "http",
    "httpx",
    "jinja2",
    "jsonschema",
    "msgspec",
    "parsl",
    "pickle",
    "pika",
    "pydantic",
    "requests",
    "sqlalchemy",
    "ssl",
    "urllib3",
    "yaml",
)
"""Nothing that speaks to the network, reads templates or YAML, or unpacks objects."""


def loaded_by(module: str) -> set[str]:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, check=True, text=True
    )
    return set(json.loads(done.stdout))


def forbidden_among(loaded: set[str]) -> set[str]:
    return {name for name in loaded if name.startswith(FORBIDDEN_PREFIXES) or name in FORBIDDEN}


FORBIDDEN_PREFIXES = tuple(f"{name}." for name in FORBIDDEN)


def test_roots_process_loads_no_network_task_or_template_code() -> None:
    loaded = loaded_by("chamberlain_endpoint.launcher.main")
    assert "chamberlain_endpoint.launcher.runtime.process" in loaded
    assert forbidden_among(loaded) == set()


def test_the_keeper_loads_next_to_nothing() -> None:
    loaded = loaded_by("chamberlain_endpoint.launcher.runtime.child")
    assert {name for name in loaded if name.startswith("chamberlain")} == {
        "chamberlain_endpoint",
        "chamberlain_endpoint.launcher",
        "chamberlain_endpoint.launcher.privileges",
        "chamberlain_endpoint.launcher.runtime",
        "chamberlain_endpoint.launcher.runtime.below",
        "chamberlain_endpoint.launcher.runtime.child",
        "chamberlain_wire",
        "chamberlain_wire.errors",
    }
    assert "dataclasses" not in loaded
