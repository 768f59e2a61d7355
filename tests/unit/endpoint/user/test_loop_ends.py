"""The main loop when links, workers and engines go, and when it is told to leave."""

from __future__ import annotations

import time

import pytest
from tests.unit.endpoint.user.conftest import LOST, WAIT_S, Endpoint

from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.loop import Exit, Stop
from chamberlain_wire import topology
from chamberlain_wire.allowed import AllowList
from chamberlain_wire.broker.port import Link, Outgoing
from chamberlain_wire.ids import FunctionId, new_id


def test_a_lost_link_loses_nothing(endpoint: Endpoint) -> None:
    endpoint.start(capacity=3)
    ids = [endpoint.submit() for _ in range(3)]
    endpoint.engine.await_submitted(3)
    endpoint.broker.drop_connection()
    endpoint.engine.finish(ids[:2])
    endpoint.broker.drop_connection()
    endpoint.engine.finish(ids[2:])
    assert {endpoint.result().task_id for _ in ids} == set(ids)
    assert sorted(endpoint.engine.submitted) == sorted(ids)
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_a_lost_worker_fails_its_task_and_says_so(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.lose(task_id, "The worker was killed.")
    result = endpoint.result()
    assert result.data == "The worker was killed. It was not run again."
    assert result.error_details is not None
    assert result.error_details.code == LOST


def test_a_lost_worker_is_made_good_where_retries_are_allowed(endpoint: Endpoint) -> None:
    endpoint.start(retries=1)
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.lose(task_id, "The worker was killed.")
    assert endpoint.engine.await_submitted(2) == [task_id, task_id]
    endpoint.engine.lose(task_id, "The worker was killed.")
    assert endpoint.result().data.startswith("The worker was killed.")


def test_a_task_that_did_not_start_is_handed_over_again(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.give_back(task_id)
    assert endpoint.engine.await_submitted(2) == [task_id, task_id]
    endpoint.engine.finish([task_id])
    assert endpoint.result().error_details is None


def test_a_broken_engine_fails_what_waits_with_its_reason(endpoint: Endpoint) -> None:
    endpoint.start(capacity=0)
    ids = {endpoint.submit(), endpoint.submit()}
    endpoint.engine.await_wanted(2)
    endpoint.engine.break_down("worker_init: module: command not found")
    results = [endpoint.result(), endpoint.result()]
    assert {result.task_id for result in results} == ids
    assert {result.data for result in results} == {"worker_init: module: command not found"}


def test_a_function_that_is_not_allowed_does_not_run(endpoint: Endpoint) -> None:
    fine = FunctionId(new_id())
    endpoint.start(allowed=AllowList([fine]), capacity=5)
    refused = endpoint.submit()
    run = endpoint.submit(**{topology.HEADER_FUNCTION: fine})
    assert endpoint.engine.await_submitted(1) == [run]
    result = endpoint.result()
    assert result.task_id == refused
    assert result.error_details is not None
    assert result.error_details.code == "FUNCTION_NOT_PERMITTED"


def test_what_the_engine_refuses_fails_with_its_words(endpoint: Endpoint) -> None:
    endpoint.start()
    endpoint.submit(**{topology.HEADER_RESOURCES: '{"num_nodes": 2}'})
    assert "takes no resource specification" in endpoint.result().data


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_bad_resource_specification_fails_its_task(endpoint: Endpoint, text: str) -> None:
    endpoint.start()
    endpoint.submit(**{topology.HEADER_RESOURCES: text})
    assert "resource specification" in endpoint.result().data


def test_what_is_no_task_is_dropped(endpoint: Endpoint) -> None:
    endpoint.start()
    for body in (b"", b"\x01{}", b"\x02", b"\xff" * 1000):
        endpoint.hub.publish(Outgoing(topology.TASKS, endpoint.queue, body)).result(WAIT_S)
    task_id = endpoint.submit()
    assert endpoint.engine.await_submitted(1) == [task_id]
    endpoint.engine.finish([task_id])
    endpoint.result()
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_a_body_that_cannot_be_read_fails_the_task_that_its_header_names(
    endpoint: Endpoint,
) -> None:
    endpoint.start()
    task_id = new_id()
    headers = {topology.HEADER_TASK: task_id}
    message = Outgoing(topology.TASKS, endpoint.queue, b"\x01{}", headers=headers)
    endpoint.hub.publish(message).result(WAIT_S)
    assert endpoint.result().task_id == task_id


def test_asked_to_stop_it_lets_running_tasks_end_and_leaves_the_others(
    endpoint: Endpoint,
) -> None:
    endpoint.start()
    running, _waiting = endpoint.submit(), endpoint.submit()
    endpoint.engine.await_wanted(1)
    endpoint.inbox.put(Stop("test"))
    endpoint.engine.finish([running], "00\nin time")
    assert endpoint.await_end() is Exit.LEFT
    assert endpoint.result().data == "00\nin time"
    assert endpoint.engine.stopped
    assert endpoint.unacknowledged() == 1


def test_what_runs_longer_than_the_grace_is_lost_and_says_so(endpoint: Endpoint) -> None:
    endpoint.start(grace_s=0.05)
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    assert endpoint.stop() is Exit.LEFT
    result = endpoint.result()
    assert result.task_id == task_id
    assert result.error_details is not None
    assert result.error_details.code == LOST
    assert endpoint.unacknowledged() == 0


def test_who_gives_its_own_time_is_waited_for_until_it_says_that_time_is_over(
    endpoint: Endpoint,
) -> None:
    endpoint.start(grace_s=0.05, period_s=0.05)
    first, second = endpoint.submit(), endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.inbox.put(Stop("test", grace_s=float("inf")))
    # Four beats are longer than the settings' grace.
    for _ in range(4):
        assert endpoint.heartbeat().seen["heartbeat_period"] > 0
    assert endpoint.stop(Stop("test", grace_s=0.0)) is Exit.LEFT
    result = endpoint.result()
    assert (result.task_id, result.error_details and result.error_details.code) == (first, LOST)
    assert endpoint.unacknowledged() == 1, f"{second} goes back to the queue"


def test_what_may_be_tried_again_is_left_for_the_next_process(endpoint: Endpoint) -> None:
    endpoint.start(grace_s=0.05, retries=1)
    endpoint.submit()
    endpoint.engine.await_submitted(1)
    assert endpoint.stop() is Exit.LEFT
    assert endpoint.unacknowledged() == 1


def test_a_refused_credential_ends_it_with_its_own_code(endpoint: Endpoint) -> None:
    endpoint.start()
    endpoint.heartbeat()
    endpoint.inbox.put(Link.REFUSED)
    assert endpoint.await_end() is Exit.BROKER_REFUSED


def test_idle_for_long_enough_it_leaves(endpoint: Endpoint) -> None:
    endpoint.start(period_s=0.02, idle=Idle(soft=3, hard=100))
    assert endpoint.await_end() is Exit.LEFT
    reports = []
    while not endpoint.heartbeats.empty():
        reports.append(endpoint.heartbeat().seen["heartbeat_period"])
    assert reports[-1] == 0


def test_with_a_task_it_does_not_leave_for_idleness(endpoint: Endpoint) -> None:
    endpoint.start(period_s=0.02, idle=Idle(soft=2, hard=0))
    endpoint.submit()
    endpoint.engine.await_submitted(1)
    for _ in range(10):
        assert endpoint.heartbeat().seen["heartbeat_period"] > 0


def test_a_heartbeat_tells_what_runs(endpoint: Endpoint) -> None:
    endpoint.start(period_s=0.05)
    running, _waiting = endpoint.submit(), endpoint.submit()
    endpoint.engine.await_wanted(1)
    endpoint.heartbeat()
    while not (report := endpoint.heartbeat()).task_statuses:
        continue
    assert list(report.task_statuses) == [running]
    assert report.seen["pending_tasks"] == 1
    assert report.seen["outstanding_tasks"] == 2
    assert report.seen["total_tasks"] == 2


def test_a_link_that_comes_up_is_no_sign_of_idleness(endpoint: Endpoint) -> None:
    endpoint.start(period_s=0.4, idle=Idle(soft=1, hard=0))
    began = time.monotonic()
    assert endpoint.await_end() is Exit.LEFT
    assert time.monotonic() - began > 0.35
