"""What `Executor` does when the hub refuses, the broker goes, or messages are lost."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, PREFIX, StandInHub, error

from chamberlain import (
    AuthenticationError,
    Client,
    Executor,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
)
from chamberlain_wire.broker.port import Outgoing

pytestmark = pytest.mark.needs_rabbit
WAIT_S = 20.0


def double(number: int) -> int:
    return 2 * number


def add(left: int, right: int = 1) -> int:
    return left + right


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

    executor.submit(double, 1).result(WAIT_S)
    hub.push = False
    future = executor.submit(double, 2)
    wait_until_known(hub, future.task_id)
    hub.broker.publish(Outgoing("", PREFIX + executor.task_group_id, b"\x01nonsense"))
    assert future.result(WAIT_S) == 4
