"""What a template may say, and how a fault is told."""

from __future__ import annotations

from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered.engines import HtexEngine

HTEX: dict[str, Any] = {"type": "GlobusComputeEngine"}


def document(**changes: object) -> dict[str, object]:
    return {"engine": {"type": "ThreadPoolEngine"}, **changes}


def htex(**changes: object) -> dict[str, object]:
    return {"engine": {**HTEX, **changes}}


def faults(given: object) -> list[str]:
    with pytest.raises(rendered.ConfigInvalidError) as caught:
        rendered.parse(given)
    for fault in caught.value.faults:
        assert fault in caught.value.public
    return sorted(caught.value.faults)


@pytest.mark.parametrize("engine", sorted({*rendered.ENGINE_TYPES} - {"GlobusMPIEngine"}))
def test_every_engine_but_that_for_mpi_needs_its_type_only(engine: str) -> None:
    found = rendered.parse({"engine": {"type": engine}}).engine.type
    assert found == (engine if "Pool" in engine else "GlobusComputeEngine")


def test_defaults_are_those_of_the_field() -> None:
    config = rendered.parse(document())
    assert config.heartbeat_period == 30.0
    assert config.heartbeat_threshold == 120.0
    assert config.idle_heartbeats_soft == 0
    assert config.idle_heartbeats_hard == 5760
    assert config.engine.max_retries_on_system_failure == 0


def test_a_site_template_is_understood() -> None:
    config = rendered.parse(
        {
            "endpoint_setup": "",
            "idle_heartbeats_soft": 10,
            "idle_heartbeats_hard": 5760,
            "engine": {
                "type": "GlobusComputeEngine",
                "max_workers_per_node": 1,
                "encrypted": False,
                "address": {"type": "address_by_interface", "ifname": "bond0.2644"},
                "available_accelerators": ["0", "1"],
                "provider": {
                    "type": "LocalProvider",
                    "min_blocks": 0,
                    "max_blocks": 1,
                    "init_blocks": 1,
                    "worker_init": "module load python\n",
                    "launcher": {"type": "SimpleLauncher"},
                },
            },
        }
    )
    assert isinstance(config.engine, HtexEngine)
    assert config.engine.provider.launcher.type == "SimpleLauncher"


def test_an_address_may_be_plain_text() -> None:
    engine = rendered.parse(htex(address="10.1.2.3")).engine
    assert isinstance(engine, HtexEngine)
    assert engine.address == "10.1.2.3"


@pytest.mark.parametrize(
    "given",
    [
        document(display_name="x", allowed_functions=["0E6A5A7C-0f3a-4b4c-8d0e-5b1d2f3a4b5c"]),
        htex(address={"type": "address_by_hostname"}, available_accelerators=4),
        {"engine": {"type": "ProcessPoolEngine", "max_workers": 3}},
    ],
)
def test_what_is_written_is_read_back_the_same(given: dict[str, object]) -> None:
    config = rendered.parse(given)
    text = rendered.to_json(config)
    assert rendered.from_json(text) == config
    assert rendered.to_json(rendered.from_json(text)) == text


def test_every_fault_is_told_at_once() -> None:
    assert faults(
        {
            "engine": {"type": "ThreadPoolEngine", "max_workers": 0, "max_worker": 1},
            "idle_heartbeat_soft": 3,
            "zzz": 1,
        }
    ) == [
        'engine.max_worker is not a known key, did you mean "max_workers"?',
        "engine.max_workers: input should be greater than 0, not 0",
        'idle_heartbeat_soft is not a known key, did you mean "idle_heartbeats_soft"?',
        "zzz is not a known key",
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "engine is required"),
        ([], "it is not a mapping but list"),
        (None, "it is not a mapping but NoneType"),
        ({"engine": {}}, "engine.type is missing"),
        (
            {"engine": {"type": "threadpoolengine"}},
            'engine.type: threadpoolengine is not known, did you mean "ThreadPoolEngine"?',
        ),
        (
            htex(provider={"type": "SlurmProvide"}),
            'engine.provider.type: SlurmProvide is not known, did you mean "SlurmProvider"?',
        ),
        (
            htex(provider={"type": "LocalProvider", "max_block": 2}),
            'engine.provider.max_block is not a known key, did you mean "max_blocks"?',
        ),
        (
            htex(provider={"type": "LocalProvider", "launcher": {"type": "SimpleLaunche"}}),
            "engine.provider.launcher.type: SimpleLaunche is not known, "
            'did you mean "SimpleLauncher"?',
        ),
        (
            htex(provider={"type": "LocalProvider", "init_blocks": 2}),
            "engine.provider: init_blocks (2) is more than max_blocks (1)",
        ),
        (
            htex(address={"type": "address_by_rout"}),
            'engine.address.type: address_by_rout is not known, did you mean "address_by_route"?',
        ),
        (
            htex(container_type="apptainer"),
            "engine: container_type: apptainer needs container_uri, the image",
        ),
        (
            document(allowed_functions=["hello"]),
            "allowed_functions: 'hello' is not a valid function id (a UUID is needed).",
        ),
        (document(high_assurance=True), "high_assurance is not a known key"),
        (
            document(paths={"endpoint_logs": "/x"}),
            'paths.endpoint_logs is not a known key, did you mean "endpoint_log"?',
        ),
        (
            document(heartbeat_period=100),
            "the configuration: heartbeat_threshold must be at least twice heartbeat_period: "
            "one late beat must not count as a death",
        ),
    ],
)
def test_a_fault_names_its_place_and_what_was_meant(given: object, sentence: str) -> None:
    assert faults(given) == [sentence]


def test_a_flood_of_faults_is_cut() -> None:
    with pytest.raises(rendered.ConfigInvalidError) as caught:
        rendered.parse(document(**{f"key{number}": 1 for number in range(1000)}))
    assert len(caught.value.faults) == 1000
    assert "and 980 more" in caught.value.public
    assert len(caught.value.public) < 4096


def test_what_would_not_fit_the_launch_is_refused() -> None:
    many = {f"{number:08d}-0000-4000-8000-000000000000" for number in range(2000)}
    assert "the limit is 65536" in faults(document(allowed_functions=sorted(many)))[0]


def test_text_that_is_no_json_is_a_fault() -> None:
    with pytest.raises(rendered.ConfigInvalidError, match="not JSON"):
        rendered.from_json("{")
