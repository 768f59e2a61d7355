"""The promises of `Executor`, against a stand-in hub and a real RabbitMQ."""

from __future__ import annotations

import concurrent.futures
import gc
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub, error

from chamberlain import (
    AuthenticationError,
    Client,
    Executor,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    SerializationError,
    TaskExecutionFailed,
)

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


def test_cancel_is_true_only_while_nothing_was_sent(executor: Executor, hub: StandInHub) -> None:
    hub.submit_gate.clear()
    sent = executor.submit(double, 1)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    waiting = executor.submit(double, 2)
    assert not sent.cancel()
    assert waiting.cancel()
    hub.submit_gate.set()
    assert sent.result(WAIT_S) == 2
    executor.submit(double, 3).result(WAIT_S)
    ids = [ids for _, body in hub.submits for group in body["task_ids"].values() for ids in group]
    assert waiting.task_id not in ids


def test_shutdown_cancels_what_was_not_sent(client: Client, hub: StandInHub) -> None:
    hub.submit_gate.clear()
    executor = Executor(ENDPOINT, client)
    sent = executor.submit(double, 1)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    waiting = executor.submit(double, 2)
    executor.shutdown(wait=False, cancel_futures=True)
    hub.submit_gate.set()
    assert waiting.cancelled()
    assert sent.result(WAIT_S) == 2


def test_a_refusal_ends_its_own_futures_and_the_executor_goes_on(
    executor: Executor, hub: StandInHub
) -> None:
    text = "Request payload failed validation: Identity failed to map to a local user name: ..."
    hub.answers.append((422, error(422, "SEMANTICALLY_INVALID", text)))
    with pytest.raises(InvalidRequestError, match="Identity failed to map") as caught:
        executor.submit(double, 1).result(WAIT_S)
    assert caught.value.word == "SEMANTICALLY_INVALID"
    assert executor.submit(double, 2).result(WAIT_S) == 4


def test_an_expired_token_is_told(executor: Executor, hub: StandInHub) -> None:
    hub.unauthorized = True
    with pytest.raises(AuthenticationError, match="CHAMBERLAIN_TOKEN"):
        executor.submit(double, 1).result(WAIT_S)
    hub.unauthorized = False
    assert executor.submit(double, 2).result(WAIT_S) == 4


def test_one_refused_function_does_not_take_others_along(
    executor: Executor, hub: StandInHub
) -> None:
    executor.submit(add, 0).result(WAIT_S)
    (refused,) = hub.functions
    hub.submit_gate.clear()
    executor.submit(double, 0)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    hub.refuse_function = (refused, 403, error(403, "FUNCTION_NOT_PERMITTED", "not allowed"))
    bad, good = executor.submit(add, 1), executor.submit(double, 1)
    hub.submit_gate.set()
    assert good.result(WAIT_S) == 2
    with pytest.raises(Exception, match="not allowed"):
        bad.result(WAIT_S)


def test_a_batch_that_is_too_large_is_halved(executor: Executor, hub: StandInHub) -> None:
    hub.most_tasks = 3
    hub.submit_gate.clear()
    first = executor.submit(double, 0)
    assert hub.submit_came.acquire(timeout=WAIT_S)
    futures = [first, *(executor.submit(double, number) for number in range(1, 11))]
    hub.submit_gate.set()
    assert [future.result(WAIT_S) for future in futures] == [2 * number for number in range(11)]


def test_a_task_that_is_too_large_fails_with_the_limit(executor: Executor, hub: StandInHub) -> None:
    hub.answers.append((413, error(413, "TASK_PAYLOAD_TOO_LARGE", "The limit is 99 bytes.")))
    with pytest.raises(PayloadTooLargeError, match="99 bytes"):
        executor.submit(double, 1).result(WAIT_S)
    assert executor.submit(double, 2).result(WAIT_S) == 4


def test_a_function_that_the_hub_forgot_is_registered_again(
    executor: Executor, hub: StandInHub
) -> None:
    executor.submit(double, 1).result(WAIT_S)
    hub.functions.clear()
    with pytest.raises(NotFoundError):
        executor.submit(double, 2).result(WAIT_S)
    assert executor.submit(double, 3).result(WAIT_S) == 6


def test_a_busy_hub_is_asked_again_with_the_same_task_ids(
    executor: Executor, hub: StandInHub
) -> None:
    hub.answers += [(503, {}), (502, {}), (504, {})]
    assert executor.submit(double, 1).result(WAIT_S) == 2
    ids = [list(body["task_ids"].values()) for _, body in hub.submits]
    assert len(ids) == 4
    assert all(one == ids[0] for one in ids)


def test_a_hub_that_restarts_is_waited_for(executor: Executor, hub: StandInHub) -> None:
    executor.submit(double, 1).result(WAIT_S)
    hub.stop()
    future = executor.submit(double, 2)
    with pytest.raises(TimeoutError):
        future.result(0.3)
    hub.start()
    assert future.result(WAIT_S) == 4


def test_a_revoked_session_is_replaced_and_nothing_is_lost(
    executor: Executor, hub: StandInHub
) -> None:
    executor.submit(double, 1).result(WAIT_S)
    hub.go.clear()
    futures = [executor.submit(double, number) for number in range(3)]
    hub.revoke_sessions()
    hub.go.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4]
    assert len(hub.sessions) >= 2


def test_a_lost_connection_is_repaired(executor: Executor, hub: StandInHub) -> None:
    executor.submit(double, 1).result(WAIT_S)
    hub.go.clear()
    futures = [executor.submit(double, number) for number in range(3)]
    eventually(hub.drop_connections)
    hub.go.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4]
    assert len(hub.sessions) == 1


def test_a_session_that_is_not_to_be_had_yet_is_asked_for_again(
    executor: Executor, hub: StandInHub
) -> None:
    hub.session_answers += [(503, {}), (500, error(500, "INTERNAL", "oops")), (503, {})]
    assert executor.submit(double, 1).result(WAIT_S) == 2


def test_a_session_that_is_forbidden_ends_the_futures_and_the_next_submit_tries_again(
    executor: Executor, hub: StandInHub
) -> None:
    hub.session_answers.append((403, error(403, "FORBIDDEN", "You may not read results.")))
    with pytest.raises(ForbiddenError, match="may not read results"):
        executor.submit(double, 1).result(WAIT_S)
    assert executor.submit(double, 2).result(WAIT_S) == 4


def test_an_executor_that_is_forgotten_gives_its_session_back(
    client: Client, hub: StandInHub
) -> None:
    executor = Executor(ENDPOINT, client)
    future = executor.submit(double, 1)
    del executor
    gc.collect()
    assert future.result(WAIT_S) == 2
    eventually(lambda: hub.ended_sessions == hub.sessions)


def test_a_result_whose_push_was_lost_is_asked_for_after_a_reconnect(
    executor: Executor, hub: StandInHub
) -> None:
    executor.submit(double, 1).result(WAIT_S)
    hub.push = False
    future = executor.submit(double, 2)
    wait_until_known(hub, future.task_id)
    hub.revoke_sessions()
    assert future.result(WAIT_S) == 4


def wait_until_known(hub: StandInHub, task_id: str) -> None:
    eventually(lambda: hub.documents.get(task_id, {}).get("status") == "success")


def eventually(what: Callable[[], object]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.05)


def test_an_unreadable_result_makes_it_ask_the_hub(executor: Executor, hub: StandInHub) -> None:
    from tests.integration.sdk.stand_in import PREFIX

    from chamberlain_wire.broker.port import Outgoing

    executor.submit(double, 1).result(WAIT_S)
    hub.push = False
    future = executor.submit(double, 2)
    wait_until_known(hub, future.task_id)
    hub.broker.publish(Outgoing("", PREFIX + executor.task_group_id, b"\x01nonsense"))
    assert future.result(WAIT_S) == 4


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
    source = client.register_source("def three():\n    return 3\n", "three")
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


# What must hold for a whole process.


def in_process(hub: StandInHub, tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, str(script)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CHAMBERLAIN_HUB_URL": hub.url,
            "CHAMBERLAIN_TOKEN": TOKEN,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_end_of_the_interpreter_sends_all_and_waits_for_nothing(
    hub: StandInHub, tmp_path: Path
) -> None:
    hub.go.clear()
    ended = in_process(
        hub,
        tmp_path,
        f"""
        from chamberlain import Executor
        executor = Executor("{ENDPOINT}")
        futures = [executor.submit(len, [1]) for _ in range(300)]
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(hub.documents) == 300
    assert hub.ended_sessions == hub.sessions


def test_a_forked_child_goes_on_with_a_group_of_its_own(hub: StandInHub, tmp_path: Path) -> None:
    ended = in_process(
        hub,
        tmp_path,
        f"""
        import os, sys
        from chamberlain import Executor

        def twice(x):
            return 2 * x

        with Executor("{ENDPOINT}") as executor:
            print(executor.submit(twice, 1).result(20), flush=True)
            open_one = executor.submit(twice, 2)
            child = os.fork()
            print(executor.submit(twice, 3 if child else 30).result(20), flush=True)
            if child:
                assert os.waitpid(child, 0)[1] == 0
                print(open_one.result(20), flush=True)
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.split(), key=int) == ["2", "4", "6", "60"]
    assert len(hub.task_groups) == 2


def test_functions_of_the_users_own_modules_travel(hub: StandInHub, tmp_path: Path) -> None:
    (tmp_path / "physics.py").write_text("import math\nG = 9.81\ndef fall(t): return G * t**2 / 2")
    ended = in_process(
        hub,
        tmp_path,
        f"""
        import json
        import physics
        from chamberlain import Executor
        with Executor("{ENDPOINT}") as executor:
            print(json.dumps(executor.submit(physics.fall, 2).result(20)))
        """,
    )
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == pytest.approx(19.62)
