"""One user endpoint from task to result, on the shipped fakes of broker and engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.engine.memory import ManualEngine
from chamberlain_endpoint.engine.port import Rules
from chamberlain_endpoint.user.heartbeat import Heartbeat
from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.ledger import Ledger, Mark, Turn
from chamberlain_endpoint.user.loop import Exit, Inbox, Loop, Parts, Settings, Stop
from chamberlain_endpoint.user.results import Results
from chamberlain_endpoint.user.work import Terms
from chamberlain_wire import topology
from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.broker.port import Delivery, Link, Outgoing
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.ids import EndpointId, FunctionId, TaskId, new_id
from chamberlain_wire.messages import QueueInfo, Result, StatusReport, Task

WAIT_S = 10.0
LOST = "TASK_LOST"


def info(exchange: str, key: str) -> QueueInfo:
    kwargs = {"exchange": exchange, "routing_key": key}
    return QueueInfo(
        connection_url="memory:", exchange=exchange, queue=key, queue_publish_kwargs=kwargs
    )


class Endpoint:
    """A user endpoint whose broker, engine and disk the test holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = EndpointId(new_id())
        self.server = MemoryServer()
        self.queue = topology.task_queue(self.id)
        self.hub = MemoryBroker(self.server)
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.heartbeats: queue.SimpleQueue[StatusReport] = queue.SimpleQueue()
        self.engine = ManualEngine()
        self.ended: queue.SimpleQueue[Exit] = queue.SimpleQueue()

    def open_hub(self) -> None:
        self.hub.open()
        self.hub.declare_queue(self.queue, bind_to=(topology.TASKS, self.queue))
        self.hub.declare_queue("results", bind_to=(topology.RESULTS, "*.results"))
        self.hub.declare_queue("heartbeats", bind_to=(topology.HEARTBEATS, "*.heartbeats"))
        self.hub.consume("results", self.on_result)
        self.hub.consume("heartbeats", self.on_heartbeat)

    def on_result(self, delivery: Delivery) -> None:
        self.results.put(decode(delivery.body, Result))
        self.hub.ack(delivery)

    def on_heartbeat(self, delivery: Delivery) -> None:
        self.heartbeats.put(decode(delivery.body, StatusReport))
        self.hub.ack(delivery)

    def start(
        self,
        *,
        capacity: int = 1,
        retries: int = 0,
        allowed: frozenset[FunctionId] | None = None,
        period_s: float = 3600.0,
        idle: Idle | None = None,
        grace_s: float = 5.0,
    ) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self.broker = MemoryBroker(self.server, on_link=self.inbox.put)
        self.engine = ManualEngine(capacity)
        self.engine.start(self.inbox.put)
        self.ledger = Ledger(self.folder / "ledger.db")
        self.ledger.open()
        settings = Settings(
            task_queue=self.queue,
            terms=Terms(Rules(endpoint_id=self.id), retries=retries, allowed=allowed),
            idle=idle or Idle(0, 0),
            heartbeat_period_s=period_s,
            grace_s=grace_s,
        )
        out = info(topology.RESULTS, topology.results_key(self.id))
        beat = info(topology.HEARTBEATS, topology.heartbeats_key(self.id))
        parts = Parts(
            inbox=self.inbox,
            broker=self.broker,
            engine=self.engine,
            ledger=self.ledger,
            results=Results(self.broker, out, self.inbox.put),
            heartbeat=Heartbeat(self.id, beat, period_s=period_s, identity={}),
        )
        loop = Loop(settings, parts)
        self.thread = threading.Thread(target=self.run, args=(loop,))
        self.thread.start()
        self.broker.open()

    def run(self, loop: Loop) -> None:
        try:
            self.ended.put(loop.run())
        except AssertionError:
            return

    def submit(self, task_id: TaskId | None = None, **headers: object) -> TaskId:
        task_id = task_id or TaskId(new_id())
        known: dict[str, object] = {
            topology.HEADER_TASK: task_id,
            topology.HEADER_FUNCTION: new_id(),
            topology.HEADER_RESOURCES: "null",
        }
        body = encode(Task(task_id=task_id, task_buffer="x"))
        self.hub.publish(
            Outgoing(topology.TASKS, self.queue, body, headers={**known, **headers})
        ).result(WAIT_S)
        return task_id

    def result(self) -> Result:
        return self.results.get(timeout=WAIT_S)

    def heartbeat(self) -> StatusReport:
        return self.heartbeats.get(timeout=WAIT_S)

    def stop(self, stop: Stop | None = None) -> Exit:
        self.inbox.put(stop or Stop("test"))
        return self.await_end()

    def await_end(self) -> Exit:
        code = self.ended.get(timeout=WAIT_S)
        self.thread.join(WAIT_S)
        self.broker.close()
        self.ledger.close()
        return code

    def crash(self) -> None:
        """End as `kill -9` does: nothing more is written, published or acknowledged."""
        self.broker.close()
        # An event that the loop does not know ends it on the spot.
        self.inbox.put(object())  # type: ignore[arg-type]
        self.thread.join(WAIT_S)
        self.ledger.close()

    def unacknowledged(self) -> int:
        """How many tasks the broker would give to the next process."""
        return len(self.server.queues[self.queue].waiting)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    one = Endpoint(tmp_path)
    one.open_hub()
    yield one
    if getattr(one, "thread", None) is not None and one.thread.is_alive():
        one.crash()
    one.hub.close()


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
    endpoint.start(allowed=frozenset({fine}), capacity=5)
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
