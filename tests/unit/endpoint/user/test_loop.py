"""One user endpoint from task to result, on the shipped fakes of broker and engine."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.unit.endpoint.user.conftest import LOST, WAIT_S, Endpoint

from chamberlain_endpoint.user.ledger import Ledger, Mark, Turn
from chamberlain_endpoint.user.loop import Exit
from chamberlain_wire import topology
from chamberlain_wire.messages import Result


def test_a_task_becomes_a_result_and_is_acknowledged(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.finish([task_id], "00\nfine")
    assert endpoint.result() == Result(task_id=task_id, data="00\nfine")
    assert endpoint.stop() is Exit.LEFT
    assert endpoint.unacknowledged() == 0


def test_the_first_heartbeat_comes_at_once_and_the_last_says_farewell(endpoint: Endpoint) -> None:
    endpoint.start(period_s=1000.0)
    first = endpoint.heartbeat().seen
    assert first["heartbeat_period"] == 1000.0
    assert first["total_workers"] == 1
    assert first["engine_type"] == "ManualEngine"
    endpoint.stop()
    assert endpoint.heartbeat().seen["heartbeat_period"] == 0


def test_only_what_can_run_is_handed_to_the_engine(endpoint: Endpoint) -> None:
    endpoint.start(capacity=2)
    ids = [endpoint.submit() for _ in range(5)]
    endpoint.engine.await_wanted(3)
    assert endpoint.engine.submitted == ids[:2]
    endpoint.engine.set_capacity(4)
    assert endpoint.engine.await_submitted(4) == ids[:4]


def test_without_a_worker_tasks_wait(endpoint: Endpoint) -> None:
    endpoint.start(capacity=0)
    endpoint.submit()
    endpoint.engine.await_wanted(1)
    assert endpoint.engine.submitted == []
    endpoint.engine.set_capacity(1)
    endpoint.engine.await_submitted(1)


def test_a_task_is_in_the_ledger_before_it_starts(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    other = Ledger(tmp_path / "ledger.db")
    other.open()
    assert other.look([task_id])[task_id].mark is Mark.STARTED
    other.close()


def test_a_repeat_of_an_open_task_runs_once(endpoint: Endpoint) -> None:
    endpoint.start(capacity=5)
    task_id = endpoint.submit()
    endpoint.submit(task_id)
    endpoint.engine.await_submitted(1)
    endpoint.submit(task_id)
    endpoint.engine.finish([task_id])
    endpoint.result()
    marker = endpoint.submit()
    assert endpoint.engine.await_submitted(2) == [task_id, marker]
    endpoint.engine.finish([marker])
    assert endpoint.result().task_id == marker


def test_a_repeat_of_a_finished_task_is_only_acknowledged(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.engine.finish([task_id])
    endpoint.result()
    endpoint.submit(task_id)
    marker = endpoint.submit()
    assert endpoint.engine.await_submitted(2) == [task_id, marker]
    endpoint.engine.finish([marker])
    assert endpoint.result().task_id == marker
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_a_task_that_ends_and_comes_again_in_one_turn_runs_once(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    # While the loop is busy with this, end and repeat queue up for the same turn.
    gate, held = threading.Event(), threading.Event()
    write = endpoint.ledger.write

    def slow_write(turn: Turn, *, now: float) -> None:
        held.set()
        gate.wait(WAIT_S)
        write(turn, now=now)

    endpoint.ledger.write = slow_write  # type: ignore[method-assign]
    blocker = endpoint.submit()
    assert held.wait(WAIT_S)
    endpoint.engine.finish([task_id])
    endpoint.broker.drop_connection()
    gate.set()
    assert endpoint.result().task_id == task_id
    assert endpoint.engine.await_submitted(2) == [task_id, blocker]
    endpoint.engine.finish([blocker])
    assert endpoint.result().task_id == blocker
    assert endpoint.engine.submitted == [task_id, blocker]


def test_tasks_that_waited_run_after_a_crash(endpoint: Endpoint) -> None:
    endpoint.start(capacity=0)
    task_id = endpoint.submit()
    endpoint.engine.await_wanted(1)
    endpoint.crash()
    endpoint.start(capacity=1)
    assert endpoint.engine.await_submitted(1) == [task_id]


def test_a_task_that_ran_is_lost_after_a_crash_and_not_run_again(endpoint: Endpoint) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.crash()
    endpoint.start()
    result = endpoint.result()
    assert result.task_id == task_id
    assert result.error_details is not None
    assert result.error_details.code == LOST
    assert endpoint.engine.submitted == []
    endpoint.stop()
    assert endpoint.unacknowledged() == 0


def test_a_task_that_ran_runs_again_where_retries_are_allowed(endpoint: Endpoint) -> None:
    endpoint.start(retries=1)
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.crash()
    endpoint.start(retries=1)
    assert endpoint.engine.await_submitted(1) == [task_id]
    endpoint.crash()
    endpoint.start(retries=1)
    result = endpoint.result()
    assert result.error_details is not None
    assert result.error_details.code == LOST


def test_a_result_that_was_not_confirmed_is_published_by_the_next_process(
    endpoint: Endpoint,
) -> None:
    endpoint.start()
    task_id = endpoint.submit()
    endpoint.engine.await_submitted(1)
    endpoint.hub.delete_queue("results")
    endpoint.engine.finish([task_id], "00\nkept")
    # The heartbeat of the new link comes after the result was tried.
    endpoint.heartbeat()
    endpoint.broker.drop_connection()
    endpoint.heartbeat()
    endpoint.crash()
    endpoint.hub.declare_queue("results", bind_to=(topology.RESULTS, "*.results"))
    endpoint.start()
    assert endpoint.result().data == "00\nkept"
    assert endpoint.engine.submitted == []
