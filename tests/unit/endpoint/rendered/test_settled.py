"""What is checked once and what is worked by say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered import (
    config,
    engines,
    launchers,
    providers,
    settled,
    settled_nodes,
)

PAIRS = [
    (config.UserEndpointConfig, settled.UserEndpoint),
    (config.Paths, settled.Paths),
    (engines.ThreadPoolEngine, settled.ThreadPoolEngine),
    (engines.ProcessPoolEngine, settled.ProcessPoolEngine),
    (engines.HtexEngine, settled.HtexEngine),
    (providers.JobStatusKwargs, settled.JobStatusKwargs),
    (engines.MpiEngine, settled.MpiEngine),
    *((model, getattr(settled_nodes, model.__name__)) for model in providers.PROVIDERS),
    *((model, getattr(settled_nodes, model.__name__)) for model in launchers.LAUNCHERS),
]
NEEDED: dict[str, dict[str, Any]] = {
    "AWSProvider": {"image_id": "ami-1", "key_name": "k"},
    "AzureProvider": {"vm_reference": {"publisher": "Canonical", "disk_size_gb": 10}},
    "GoogleCloudProvider": {
        "project_id": "p",
        "key_file": "/k.json",
        "region": "r",
        "os_project": "debian-cloud",
        "os_family": "debian-12",
    },
    "KubernetesProvider": {
        "image": "registry.example/worker:1",
        "persistent_volumes": [["data", "/data"]],
        "extra_limits": {"nvidia.com/gpu": 1},
    },
    "WrappedLauncher": {"prepend": "nice"},
}
MPI = {"type": "SimpleLauncher"}


def _choice(model: Any) -> dict[str, Any]:
    return {"type": model.__name__, **NEEDED.get(model.__name__, {})}


DOCUMENTS: list[dict[str, Any]] = [
    {"engine": {"type": "ThreadPoolEngine", "max_workers": 3}, "idle_heartbeats_soft": 2},
    {"engine": {"type": "ProcessPoolEngine", "run_in_sandbox": True}},
    {"engine": {"type": "GlobusMPIEngine", "provider": {"type": "LSFProvider", "launcher": MPI}}},
    *(
        {"engine": {"type": "GlobusComputeEngine", "provider": _choice(model)}}
        for model in providers.PROVIDERS
    ),
    *(
        {
            "engine": {
                "type": "GlobusComputeEngine",
                "provider": {"type": "SlurmProvider", "launcher": _choice(model)},
            }
        }
        for model in launchers.LAUNCHERS
    ),
    {"engine": {"type": "GlobusComputeEngine", "address": "10.0.0.1"}},
    {
        "engine": {
            "type": "ParslEngine",
            "address": {"type": "address_by_interface", "ifname": "eth0"},
            "available_accelerators": ["0", "1"],
            "provider": {
                "type": "LocalProvider",
                "launcher": {"type": "WrappedLauncher", "prepend": "nice"},
            },
        },
        "allowed_functions": ["00000000-0000-4000-8000-000000000000"],
        "paths": {"endpoint_log": "/tmp/x"},
    },
    {
        "engine": {
            "type": "HighThroughputEngine",
            "address": {"type": "address_by_route"},
            "available_accelerators": 2,
            "provider": {"type": "LocalProvider", "launcher": {"type": "SimpleLauncher"}},
        }
    },
]


@pytest.mark.parametrize(("checked", "used"), PAIRS, ids=lambda model: model.__name__)
def test_both_have_the_same_keys(checked: Any, used: Any) -> None:
    keys = {field.encode_name for field in msgspec.structs.fields(used)}
    if used.__struct_config__.tag:
        keys.add("type")
    assert keys == set(checked.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_was_checked_is_read_with_the_same_values(document: dict[str, Any]) -> None:
    text = rendered.to_json(rendered.parse(document))
    read = settled.read(json.loads(text))
    assert json.loads(msgspec.json.encode(read)) == json.loads(text)


@pytest.mark.parametrize(
    "document", [None, {}, {"engine": {"type": "ThreadPoolEngine"}}, DOCUMENTS[0]]
)
def test_what_was_not_checked_is_told_apart(document: object) -> None:
    with pytest.raises(settled.NotSettledError):
        settled.read(document)


def test_it_loads_without_the_library_of_the_checks() -> None:
    program = (
        "import sys; from chamberlain_endpoint.rendered import settled; "
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", program], check=False).returncode == 0


def test_an_unknown_name_of_the_package_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pars'"):
        rendered.pars  # noqa: B018
