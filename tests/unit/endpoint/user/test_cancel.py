"""What a user endpoint makes of the hub's word that tasks are cancelled."""

from __future__ import annotations

import pytest
from tests.unit.endpoint.user.conftest import Endpoint

from chamberlain_endpoint.user.started import SETTLE_S, Started
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result


def outcome(result: Result) -> str:
    assert result.error_details is not None
    assert result.error_details.code == "TASK_CANCELLED"
    assert result.details is not None
    return str(result.details["cancelled"])


def test_a_task_that_waits_is_never_started(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    endpoint.hello()
    running, waiting = endpoint.submit(), endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.order(waiting)
    told = endpoint.result()
    assert (told.task_id, outcome(told)) == (waiting, "before_start")
    endpoint.engine.finish([running])
    assert endpoint.result().task_id == running
    endpoint.stop()
    assert endpoint.engine.submitted == [running]
    assert endpoint.unacknowledged() == 0


def test_a_running_task_is_ended_and_not_tried_again(endpoint: Endpoint) -> None:
    endpoint.start(control=True, retries=3)
    endpoint.hello()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.order(task_id)
    assert outcome(endpoint.result()) == "killed"
    other = endpoint.submit()
    endpoint.engine.await_submitted(2)
    assert endpoint.engine.submitted == [task_id, other]


def test_what_cannot_be_ended_keeps_its_place_and_its_result_is_dropped(
    endpoint: Endpoint,
) -> None:
    endpoint.start(control=True)
    endpoint.hello()
    endpoint.engine.can_cancel = False
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.order(task_id)
    assert outcome(endpoint.result()) == "goes_on"
    other = endpoint.submit()
    endpoint.engine.await_wanted(1)
    assert endpoint.engine.submitted == [task_id]
    endpoint.engine.finish([task_id])
    endpoint.engine.await_submitted(2)
    endpoint.engine.finish([other])
    assert endpoint.result().task_id == other
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_an_order_that_overtakes_its_task_holds(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    endpoint.hello()
    early = TaskId(new_id())
    endpoint.order(early)
    assert outcome(endpoint.result()) == "before_start"
    endpoint.submit(early)
    other = endpoint.submit()
    endpoint.engine.await_submitted(1)
    assert endpoint.engine.submitted == [other]
    endpoint.engine.finish([other])
    endpoint.result()
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_nothing_starts_before_it_is_known_what_was_cancelled(endpoint: Endpoint) -> None:
    cancelled, kept = endpoint.submit(), endpoint.submit()
    endpoint.start(control=True, capacity=2)
    report = endpoint.heartbeat()
    endpoint.engine.await_wanted(2)
    assert endpoint.engine.submitted == []
    endpoint.order(roll="another's")
    endpoint.order(cancelled, roll=report.roll)
    assert outcome(endpoint.result()) == "before_start"
    assert endpoint.engine.await_submitted(1) == [kept]
    endpoint.engine.finish([kept])
    endpoint.result()
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_after_a_lost_link_it_asks_again(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    first = endpoint.hello()
    endpoint.broker.drop_connection()
    task_id = endpoint.submit()
    endpoint.engine.await_wanted(1)
    second = endpoint.hello(task_id)
    assert second.roll != first.roll
    assert outcome(endpoint.result()) == "before_start"
    assert endpoint.engine.submitted == []


def test_a_result_that_is_out_stays(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    endpoint.hello()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.finish([task_id])
    assert endpoint.result().error_details is None
    endpoint.order(task_id)
    other = endpoint.submit()
    endpoint.engine.await_submitted(2)
    endpoint.engine.finish([other])
    assert endpoint.result().task_id == other


def test_a_cancel_outlives_a_crash(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    endpoint.hello()
    endpoint.submit()
    waiting = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.order(waiting)
    endpoint.result()
    endpoint.crash()
    endpoint.start(control=True, capacity=2)
    endpoint.hello(waiting)
    other = endpoint.submit()
    endpoint.engine.await_submitted(1)
    assert endpoint.engine.submitted == [other]


@pytest.mark.parametrize("body", [b"", b"\x01{}", b"\x01nonsense"])
def test_what_is_no_order_is_dropped(endpoint: Endpoint, body: bytes) -> None:
    from chamberlain_wire.broker.port import Outgoing

    endpoint.start(control=True)
    endpoint.hello()
    endpoint.hub.publish(Outgoing("", endpoint.control, body)).result(10)
    task_id = endpoint.submit()
    assert endpoint.engine.await_submitted(1) == [task_id]


def test_without_a_control_queue_nothing_is_asked_and_nothing_waits(endpoint: Endpoint) -> None:
    endpoint.start()
    report = endpoint.heartbeat()
    assert report.roll == ""
    assert "control" not in report.seen
    task_id = endpoint.submit()
    assert endpoint.engine.await_submitted(1) == [task_id]


def test_a_task_that_lasts_is_told_as_running_within_a_second(endpoint: Endpoint) -> None:
    endpoint.start(control=True)
    assert endpoint.hello().task_statuses == {}
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    report = endpoint.heartbeat()
    assert report.seen == {}
    assert [one.state for one in report.task_statuses[task_id]] == ["running"]


def test_quick_tasks_cost_no_report_and_slow_ones_share_one() -> None:
    started = Started()
    quick, slow, nearly, later = (TaskId(new_id()) for _ in range(4))
    started.begin([quick, slow], now_s=0.0, at_ns=1)
    assert started.due_at() == SETTLE_S
    started.begin([nearly], now_s=0.1, at_ns=2)
    started.begin([later], now_s=0.45, at_ns=3)
    started.end(quick)
    assert started.take(now_s=SETTLE_S, most=10) == [(slow, 1), (nearly, 2)]
    assert started.due_at() == 0.45 + SETTLE_S
    started.end(later)
    assert started.due_at() is None
    assert started.all() == [(slow, 1), (nearly, 2)]


def test_one_report_has_a_most() -> None:
    started = Started()
    ids = [TaskId(new_id()) for _ in range(5)]
    started.begin(ids, now_s=0.0, at_ns=1)
    assert [one for one, _ in started.take(now_s=1.0, most=3)] == ids[:3]
    assert [one for one, _ in started.take(now_s=1.0, most=3)] == ids[3:]
