"""Tasks on a real site that meet limits, strangers and outages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.system.conftest import ALICE, BOB, Open

from chamberlain import (
    Client,
    HubUnavailableError,
    NotFoundError,
    PayloadTooLargeError,
    TaskExecutionFailed,
)
from chamberlain_endpoint.cli import processes
from chamberlain_wire.limits import MAX_SUBMIT_BYTES
from devtools.processes import wait_until
from devtools.rabbit import PrivateRabbit
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]
WAIT_S = 120.0


def double(number):
    return 2 * number


def length(data):
    return len(data)


def wait_for(path):
    import pathlib
    import time

    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if pathlib.Path(path).exists():
            return "seen"
        time.sleep(0.02)
    return "not seen"


def fail():
    raise LookupError("no such thing")


def test_many_tasks_come_back_in_order(open_as: Open) -> None:
    numbers = range(500)
    assert list(open_as(ALICE).map(double, numbers)) == [2 * number for number in numbers]


def test_an_exception_keeps_its_type_and_its_remote_traceback(open_as: Open) -> None:
    error = open_as(ALICE).submit(fail).exception(timeout=WAIT_S)
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, TaskExecutionFailed)
    assert "in fail" in error.__cause__.remote_traceback


def sleep_long():
    import time

    time.sleep(3600)


@pytest.mark.parametrize("engine", ["ProcessPoolEngine", "ParslEngine"])
def test_a_running_task_is_cancelled_down_to_its_process(
    open_as: Open, site: Site, engine: str
) -> None:
    executor = open_as(ALICE, ENGINE=engine)
    client = Client(site.hub_url, site.tokens[ALICE])
    future = executor.submit(sleep_long)

    def runs() -> bool:
        # The id is made here: the hub does not know it before the batch has left.
        known = site.get(f"/v2/tasks/{future.task_id}", ALICE)
        return known is not None and known["status"] == "running"

    assert wait_until(runs, WAIT_S)
    assert future.cancel()
    assert wait_until(
        lambda: client.get_task(future.task_id)["cancellation"]["outcome"] == "killed", WAIT_S
    )
    assert executor.submit(double, 3).result(WAIT_S) == 6


def test_a_payload_above_the_limit_is_told_with_the_limit(open_as: Open) -> None:
    executor = open_as(ALICE)
    error = executor.submit(length, "x" * (MAX_SUBMIT_BYTES + 1)).exception(timeout=WAIT_S)
    assert isinstance(error, PayloadTooLargeError)
    assert str(MAX_SUBMIT_BYTES) in str(error) or "10 MiB" in str(error)
    # One call too large takes no other along.
    assert executor.submit(double, 4).result(WAIT_S) == 8


def test_somebody_elses_task_and_function_are_not_there(open_as: Open, site: Site) -> None:
    future = open_as(ALICE).submit(double, 1)
    assert future.result(WAIT_S) == 2
    mine, other = (Client(site.hub_url, site.tokens[person]) for person in (ALICE, BOB))
    function = mine.register_function(double)
    assert mine.get_task(future.task_id)["status"] == "success"
    with pytest.raises(NotFoundError):
        other.get_task(future.task_id)
    with pytest.raises(NotFoundError):
        other.get_function(function)
    with pytest.raises(NotFoundError):
        other.delete_function(function)


def test_a_set_up_that_fails_is_told_to_the_caller(open_as: Open) -> None:
    error = open_as(ALICE, BREAK="setup").submit(double, 1).exception(timeout=WAIT_S)
    assert error is not None
    assert "setup" in str(error)
    assert "cannot find the module" in str(error)


def test_a_hub_that_was_away_delivers_the_result(
    open_as: Open, site: Site, public_folder: Path
) -> None:
    executor = open_as(ALICE)
    sign = public_folder / "hub-is-away"
    # It runs: its own user endpoint has it, not only the hub.
    assert executor.submit(double, 1).result(WAIT_S) == 2
    future = executor.submit(wait_for, os.fspath(sign))
    assert wait_until(lambda: site.get(f"/v2/tasks/{future.task_id}", ALICE) is not None, WAIT_S)
    site.stop_hub()
    sign.touch()
    site.start_hub()
    assert future.result(WAIT_S) == "seen"


def test_a_task_for_a_broker_that_is_away_is_refused_clearly_or_delivered_later(
    open_as: Open, rabbit: PrivateRabbit
) -> None:
    executor = open_as(ALICE)
    assert executor.submit(double, 1).result(WAIT_S) == 2
    rabbit.stop()
    future = executor.submit(double, 21)
    rabbit.start()
    try:
        assert future.result(WAIT_S) == 42
    except HubUnavailableError:
        assert executor.submit(double, 21).result(WAIT_S) == 42


def test_a_manager_that_was_killed_comes_back(open_as: Open, site: Site) -> None:
    config = site.config_dir / site.name / "config.yaml"
    words = ("chamberlain_endpoint.manager.main", str(config))
    (before,) = processes.with_words(*words)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: processes.with_words(*words) - {before} != set(), WAIT_S)
    # Options that nobody used yet: a start goes through the new manager.
    assert open_as(ALICE, MAX_WORKERS=7).submit(double, 3).result(WAIT_S) == 6


def test_a_user_endpoint_that_was_killed_is_started_again_for_the_next_task(
    open_as: Open, site: Site
) -> None:
    executor = open_as(ALICE, MAX_WORKERS=6)
    assert executor.submit(double, 3).result(WAIT_S) == 6
    (task,) = site.get("/v3/tasks?limit=1", ALICE)["tasks"]
    accounts = site.config_dir / site.name / "accounts"
    mine = [
        pid
        for pid, folder in processes.standing_below(accounts)
        if task["user_endpoint_id"] in folder.parts
    ]
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(
        lambda: task["user_endpoint_id"] not in processes.user_endpoints(accounts), WAIT_S
    )
    assert executor.submit(double, 5).result(WAIT_S) == 10
