"""The promises of `Executor`, against a stand-in hub and a real RabbitMQ."""

from __future__ import annotations

import concurrent.futures
import sys
import time
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, StandInHub

from chamberlain import (
    Client,
    Executor,
    NotFoundError,
    SerializationError,
    TaskExecutionFailed,
)
from chamberlain_wire.ids import new_id

pytestmark = pytest.mark.needs_rabbit
WAIT_S = 20.0


def double(number: int) -> int:
    return 2 * number


def add(left: int, right: int = 1) -> int:
    return left + right


class OwnError(Exception):
    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number

    def __reduce__(self) -> object:
        return _own_error, self.args


def _own_error(number: int, reason: str) -> OwnError:
    return OwnError(number, reason=reason)


def boom() -> None:
    raise OwnError(7, reason="on purpose")


def test_a_function_returns_its_value(executor: Executor) -> None:
    assert executor.submit(add, 1, right=2).result(WAIT_S) == 3


def test_a_function_is_registered_once_per_content(executor: Executor, hub: StandInHub) -> None:
    futures = [executor.submit(double, number) for number in range(5)]
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4, 6, 8]
    executor.submit(add, 1).result(WAIT_S)
    assert [one["function_name"] for one in hub.registrations] == ["double", "add"]


def test_the_first_call_goes_alone_and_what_comes_meanwhile_goes_together(
    executor: Executor, hub: StandInHub
) -> None:
    hub.submit_gate.clear()
    first = executor.submit(double, 0)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    rest = [executor.submit(double, number) for number in range(1, 301)]
    hub.submit_gate.set()
    assert [future.result(WAIT_S) for future in [first, *rest]] == [2 * n for n in range(301)]
    sizes = [sum(map(len, body["tasks"].values())) for _, body in hub.submits]
    assert sizes == [1, 128, 128, 44]


def test_destinations_do_not_wait_for_each_other(executor: Executor, hub: StandInHub) -> None:
    hub.submit_gate.clear()
    executor.user_endpoint_config = {"workers": 1}
    one = executor.submit(double, 1)
    executor.user_endpoint_config = {"workers": 2}
    two = executor.submit(double, 2)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    hub.submit_gate.set()
    assert (one.result(WAIT_S), two.result(WAIT_S)) == (2, 4)
    sent = [body["user_endpoint_config"] for _, body in hub.submits]
    assert sorted(sent, key=str) == [{"workers": 1}, {"workers": 2}]


def test_the_runtime_has_the_shape_that_templates_read(executor: Executor, hub: StandInHub) -> None:
    executor.submit(double, 1).result(WAIT_S)
    runtime = hub.submits[0][1]["user_runtime"]
    assert runtime["python"]["version_tuple"] == list(sys.version_info[:3])
    assert {"globus_compute_sdk_version", "platform", "python_version"} <= runtime.keys()


def test_what_the_function_raised_is_raised_here_with_its_remote_traceback(
    executor: Executor,
) -> None:
    with pytest.raises(OwnError) as caught:
        executor.submit(boom).result(WAIT_S)
    assert caught.value.number == 7
    cause = caught.value.__cause__
    assert isinstance(cause, TaskExecutionFailed)
    assert "in boom" in cause.remote_traceback
    assert "node1" in str(cause)


def test_an_exit_over_there_does_not_end_this_process(executor: Executor) -> None:
    with pytest.raises(TaskExecutionFailed, match="SystemExit"):
        executor.submit(sys.exit, 3).result(WAIT_S)


def test_what_cannot_travel_is_refused_at_submit(executor: Executor, hub: StandInHub) -> None:
    with pytest.raises(SerializationError, match=r"argument 2 .*cannot be sent"):
        executor.submit(add, 1, (number for number in range(3)))
    assert executor.submit(add, 1).result(WAIT_S) == 2


def test_map_keeps_the_order(executor: Executor) -> None:
    assert list(executor.map(add, range(5), range(5), timeout=WAIT_S)) == [0, 2, 4, 6, 8]


def test_map_with_chunks_makes_fewer_tasks(executor: Executor, hub: StandInHub) -> None:
    assert list(executor.map(double, range(10), chunksize=4, timeout=WAIT_S)) == [
        2 * number for number in range(10)
    ]
    assert executor.task_count_submitted == 3


def test_map_times_out(executor: Executor, hub: StandInHub) -> None:
    hub.go.clear()
    with pytest.raises(TimeoutError):
        list(executor.map(double, [1], timeout=0.1))
    hub.go.set()


def test_leaving_the_context_waits_for_all(client: Client, hub: StandInHub) -> None:
    with Executor(ENDPOINT, client) as executor:
        futures = [executor.submit(double, number) for number in range(10)]
    assert all(future.done() for future in futures)
    assert hub.ended_sessions == hub.sessions


def test_nothing_is_taken_after_shutdown(executor: Executor) -> None:
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(double, 1)


def test_shutdown_without_waiting_still_ends_the_futures(client: Client, hub: StandInHub) -> None:
    hub.go.clear()
    executor = Executor(ENDPOINT, client)
    future = executor.submit(double, 1)
    executor.shutdown(wait=False)
    hub.go.set()
    assert future.result(WAIT_S) == 2


def test_what_was_not_sent_is_cancelled_here(executor: Executor, hub: StandInHub) -> None:
    hub.submit_gate.clear()
    sent = executor.submit(double, 1)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    waiting = executor.submit(double, 2)
    assert waiting.cancel()
    hub.submit_gate.set()
    assert sent.result(WAIT_S) == 2
    executor.submit(double, 3).result(WAIT_S)
    ids = [ids for _, body in hub.submits for group in body["task_ids"].values() for ids in group]
    assert waiting.task_id not in ids


@pytest.mark.parametrize("word", ["cancelled", "asked"])
def test_what_was_sent_is_cancelled_at_the_hub(
    executor: Executor, hub: StandInHub, word: str
) -> None:
    hub.cancel_answer = word
    hub.go.clear()
    future = executor.submit(double, 1)
    seen: list[Future[Any]] = []
    future.add_done_callback(seen.append)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    # While the submit is under way it waits for its answer.
    assert future.cancel()
    assert (future.cancelled(), future.done(), seen) == (True, True, [future])
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    assert wait([future], 0).done == {future}
    hub.go.set()
    assert executor.submit(double, 3).result(WAIT_S) == 6


def test_cancel_is_false_when_the_task_has_ended_or_nobody_can_be_asked(
    executor: Executor, hub: StandInHub
) -> None:
    hub.push = False
    ended = executor.submit(double, 1)
    assert hub.accepted.acquire(timeout=WAIT_S)
    document = hub.documents[ended.task_id]
    deadline = time.monotonic() + WAIT_S
    while document["status"] != "success":
        assert time.monotonic() < deadline
        document = hub.documents[ended.task_id]
    assert not ended.cancel()
    assert not ended.done()
    hub.unauthorized = True
    assert not ended.cancel()
    hub.unauthorized = False
    ended.set_result(None)
    assert not ended.cancel()


def test_shutdown_cancels_what_was_sent_and_what_was_not(client: Client, hub: StandInHub) -> None:
    hub.go.clear()
    executor = Executor(ENDPOINT, client)
    futures = [executor.submit(double, n) for n in range(300)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    hub.go.set()


def test_a_cancel_that_the_hub_tells_ends_the_future(executor: Executor, hub: StandInHub) -> None:
    hub.go.clear()
    future = executor.submit(double, 1)
    assert hub.accepted.acquire(timeout=WAIT_S)
    # Somebody else's doing: the same user's command line, for example.
    hub.tell_cancelled(executor.task_group_id, future.task_id)
    with pytest.raises(CancelledError):
        future.result(WAIT_S)
    assert future.cancelled()
    hub.go.set()


def test_the_client_cancels_by_id(executor: Executor, client: Client, hub: StandInHub) -> None:
    hub.go.clear()
    first, second = executor.submit(double, 1), executor.submit(double, 2)
    while len(hub.documents) < 2:
        assert hub.accepted.acquire(timeout=WAIT_S)
    nobody = new_id()
    assert client.cancel_task(first.task_id) == "cancelled"
    answers = client.cancel_tasks([second.task_id, nobody])
    assert answers == {second.task_id: "cancelled", nobody: "unknown"}
    with pytest.raises(NotFoundError, match=nobody):
        client.cancel_task(nobody)
    with pytest.raises(CancelledError):
        client.get_result(first.task_id)
    hub.go.set()


def test_tasks_of_a_group_are_found_again(client: Client, hub: StandInHub) -> None:
    hub.go.clear()
    with Executor(ENDPOINT, client) as first:
        done = first.submit(double, 1)
        hub.go.set()
        done.result(WAIT_S)
        group = first.task_group_id
    with Executor(ENDPOINT, client) as second:
        (future,) = second.reload_tasks(group)
        assert future.task_id == done.task_id
        assert future.result(WAIT_S) == 2


def test_a_registered_function_runs_by_its_id(executor: Executor, client: Client) -> None:
    function = executor.register_function(add)
    assert executor.submit_to_registered_function(function, (1,), {"right": 5}).result(WAIT_S) == 6
    source = client.register_source_code("def three():\n    return 3\n", "three")
    assert executor.submit_to_registered_function(source).result(WAIT_S) == 3


def test_client_runs_and_reads_a_result(client: Client, hub: StandInHub) -> None:
    from chamberlain import TaskPendingError

    hub.go.clear()
    with Executor(ENDPOINT, client) as executor:
        future = executor.submit(double, 4)
        assert hub.submit_came.acquire(timeout=WAIT_S)
        executor.submit(double, 5)
        assert hub.submit_came.acquire(timeout=WAIT_S)
        with pytest.raises(TaskPendingError):
            client.get_result(future.task_id)
        hub.go.set()
    assert client.get_result(future.task_id) == 8
    assert client.get_batch_result([future.task_id])[future.task_id]["result"] == 8


def test_wait_and_as_completed_of_the_standard_library_work(executor: Executor) -> None:
    futures = {executor.submit(double, number) for number in range(4)}
    done = concurrent.futures.as_completed(futures, timeout=WAIT_S)
    assert sorted(one.result() for one in done) == [0, 2, 4, 6]
