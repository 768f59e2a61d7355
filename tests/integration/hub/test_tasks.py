"""From submit to result, with a manager and user endpoints that the tests play."""

from __future__ import annotations

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import WAIT_S, Caller, Manager

from chamberlain_wire import topology


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def manager(world: World) -> Manager:
    return world.manager(world.caller("admin@example.edu"))


def in_background(work):  # type: ignore[no-untyped-def]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def test_a_task_goes_out_and_its_result_comes_back(
    world: World, alice: Caller, manager: Manager
) -> None:
    function = alice.function()
    asked = in_background(lambda: alice.submit(manager.endpoint, function, "one", "two"))
    command = manager.next_command()
    child = manager.start(command)
    answer = asked.result(WAIT_S).ok()
    ids = answer["tasks"][function]
    assert answer["endpoint_id"] == child.id
    results = world.sdk(alice).results(answer["task_group_id"])
    for task_id, payload in zip(ids, ("one", "two"), strict=True):
        task, delivery = child.next_task()
        assert (task.task_id, task.task_buffer) == (task_id, "4\n01\nf" + payload)
        assert delivery.headers[topology.HEADER_TASK] == task_id
        assert delivery.headers[topology.HEADER_FUNCTION] == function
        body = child.finish(task_id, f"result of {payload}")
        came = results.get(timeout=WAIT_S)
        assert came.body == body
        assert came.timestamp is not None
    assert alice.ended(ids[1])["result"] == "result of two"
