"""The hub's metrics, read over HTTP as Prometheus reads them."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest
import urllib3
from tests.integration.hub.conftest import World
from tests.integration.hub.players import eventually, only_task, served
from tests.integration.hub.test_audit import no_room_for_more

from chamberlain_hub.api.app import MetricsListenError, serve_metrics
from chamberlain_hub.config import HubSettings
from chamberlain_hub.metrics import HubMetrics
from chamberlain_wire.ids import new_id
from devtools.rabbit import free_ports

ADMIN, ALICE = "admin@example.edu", "alice@example.edu"


@pytest.fixture
def world(memory_world: World) -> World:
    (port,) = free_ports(1)
    memory_world.restart(metrics_listen=f"127.0.0.1:{port}")
    return memory_world


def scraped(world: World) -> dict[str, float]:
    address = world.settings["metrics_listen"]
    text = urllib3.request("GET", f"http://{address}/metrics").data.decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_a_task_leaves_its_marks(world: World) -> None:
    alice, admin = world.caller(ALICE), world.caller(ADMIN)
    manager = world.manager(admin)
    child, function = served(alice, manager)
    task_id = only_task(alice.submit(manager.endpoint, function), function)
    child.next_task()
    child.finish(task_id, error="RemoteExecutionError")
    alice.ended(task_id)
    assert alice.get("/v2/tasks/" + new_id()).status == 404
    assert alice.get("/no/such/" + new_id()).status == 404
    assert world.nobody().get("/v3/tasks").status == 401

    moves = "chamberlain_hub_task_moves_total"
    eventually(lambda: scraped(world).get(f'{moves}{{state="waiting-for-ep"}}') == 2)
    found = scraped(world)
    assert found[f'{moves}{{state="received"}}'] == 2
    assert found[f'{moves}{{state="success"}}'] == 1
    assert found[f'{moves}{{state="failed"}}'] == 1
    assert found["chamberlain_hub_submit_seconds_count"] == 2
    assert found['chamberlain_hub_database_seconds_count{kind="write"}'] > 5
    assert found["chamberlain_hub_broker_connected"] == 1
    assert found["chamberlain_hub_database_up"] == 1

    def requests(method: str, route: str, status: int) -> float:
        labels = f'method="{method}",route="{route}",status="{status}"'
        return found[f"chamberlain_hub_requests_total{{{labels}}}"]

    assert requests("POST", "/v3/endpoints/{endpoint_id}/submit", 200) == 2
    assert requests("GET", "/v2/tasks/{task_id}", 404) == 1
    assert requests("GET", "/v3/tasks", 401) == 1
    assert requests("GET", "none", 404) == 1
    everything = " ".join(found)
    for secret in (task_id, function, manager.endpoint, child.id, alice.identity, ALICE):
        assert secret not in everything


def check_counts(world: World) -> None:
    alice = world.caller(ALICE)
    manager = world.manager(world.caller(ADMIN))
    child, function = served(alice, manager)
    alice.submit(manager.endpoint, function, "a", "b").ok()
    now = time.time()
    eventually(lambda: world.store.counts(now).unpublished_tasks == 0)
    counts = world.store.counts(now)
    assert counts._replace(unpublished_tasks=0) == (2, 0, 1, 1)
    later = world.store.counts(now + 1e6)
    assert (later.open_tasks, later.endpoints, later.user_endpoints) == (2, 0, 0)
    assert child.id


def test_the_gauges_count_what_is_in_the_store(memory_world: World) -> None:
    check_counts(memory_world)


@pytest.mark.needs_rabbit
@pytest.mark.needs_postgres
def test_the_gauges_count_what_is_in_postgresql(postgres_world: World) -> None:
    check_counts(postgres_world)


def test_a_failed_write_to_the_audit_log_is_counted(world: World) -> None:
    alice = world.caller(ALICE)
    with no_room_for_more(world):
        body = {"function_name": "f", "function_code": "4\n01\nf"}
        assert alice.post("/v3/functions", body).status == 503
    assert scraped(world)["chamberlain_hub_audit_failures_total"] == 1


def test_where_nobody_can_listen_the_hub_does_not_start(memory_world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = HubSettings(data_dir=memory_world.folder, metrics_listen=address)
        with pytest.raises(MetricsListenError, match="metrics_listen: 127"):
            serve_metrics(replace(memory_world.services, settings=settings))


def test_a_count_takes_microseconds() -> None:
    """The hot route counts a request, a submit, two transactions and a move."""
    metrics = HubMetrics()
    began = time.thread_time()
    for _ in range(1000):
        metrics.request("POST", "/v3/endpoints/{endpoint_id}/submit", 200)
        metrics.submitted(0.01)
        metrics.database("read", 0.001)
        metrics.database("write", 0.001)
        metrics.moved("received")
    assert (time.thread_time() - began) / 1000 < 500e-6
