"""What an `Executor` and a `Client` offer beyond plain calls, against the stand-in hub."""

from __future__ import annotations

import asyncio
import json
import platform
import warnings
from typing import Any

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, StandInHub

import chamberlain
from chamberlain import (
    Client,
    DeserializationError,
    Executor,
    InvalidRequestError,
    MPIFunction,
    SerializationError,
    ShellFunction,
    ShellResult,
    TaskExecutionFailed,
    VersionMismatchWarning,
)

pytestmark = pytest.mark.needs_rabbit
WAIT_S = 20.0
ALL_DATA = ["DillDataBase64", "JSONData", "AllDataStrategies"]


def double(number: int) -> int:
    return 2 * number


def fail() -> None:
    raise KeyError("on purpose")


def test_a_shell_command_is_submitted_like_a_function(executor: Executor, hub: StandInHub) -> None:
    greet = ShellFunction("echo hello {name}; exit 2", name="greet")
    done = executor.submit(greet, name="world").result(WAIT_S)
    assert isinstance(done, ShellResult)
    assert (done.stdout, done.returncode) == ("hello world\n", 2)
    executor.submit(greet, name="again").result(WAIT_S)
    assert [one["function_name"] for one in hub.registrations] == ["greet"]


def test_an_mpi_command_takes_its_ranks_along(executor: Executor, hub: StandInHub) -> None:
    with pytest.raises(InvalidRequestError, match="how many ranks"):
        executor.submit(MPIFunction("true"))
    wanted = {"num_nodes": 2, "ranks_per_node": 4, "launcher_options": "-v"}
    executor.resource_specification = wanted
    with pytest.raises(RuntimeError, match="not one for MPI"):
        executor.submit(MPIFunction("true")).result(WAIT_S)
    assert hub.submits[0][1]["resource_specification"] == wanted


def test_impossible_wishes_are_refused_where_they_are_made(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match="did you mean 'num_nodes'"):
        Executor(ENDPOINT, client, resource_specification={"num_node": 1})
    with pytest.raises(SerializationError, match="Use one of"):
        Executor(ENDPOINT, client, result_serializers=["Nonsense"])
    with pytest.raises(InvalidRequestError, match="num_ranks is 0"):
        client.create_batch(resource_specification={"num_ranks": 0})


def test_result_serializers_travel_by_their_public_names(
    executor: Executor, hub: StandInHub
) -> None:
    executor.result_serializers = ["JSONData", "DillDataBase64"]
    executor.submit(double, 1).result(WAIT_S)
    assert hub.submits[0][1]["result_serializers"] == [
        "globus_compute_sdk.serialize.concretes.JSONData",
        "globus_compute_sdk.serialize.concretes.DillDataBase64",
    ]


def test_results_come_only_by_what_the_serializer_allows(client: Client, hub: StandInHub) -> None:
    only_json = chamberlain.serializer(allowed=["DillCode", "JSONData"])
    with Executor(ENDPOINT, client, serializer=only_json) as executor:
        with pytest.raises(DeserializationError, match=r"DillDataBase64.* it allows JSONData"):
            executor.submit(double, 1).result(WAIT_S)
        # The text of a failure is no pickle; the exception is one, and stays packed.
        with pytest.raises(TaskExecutionFailed, match="KeyError: 'on purpose'"):
            executor.submit(fail).result(WAIT_S)


@pytest.mark.parametrize("data", ALL_DATA)
@pytest.mark.parametrize(
    "code",
    [
        "DillCode",
        "DillCodeTextInspect",
        "DillCodeSource",
        "PureSourceTextInspect",
        "PureSourceDill",
        "CombinedCode",
        "AllCodeStrategies",
    ],
)
def test_every_strategy_carries_a_function_its_arguments_and_result(
    client: Client, code: str, data: str
) -> None:
    using = chamberlain.serializer(code=code, data=data)
    with Executor(ENDPOINT, client, serializer=using, result_serializers=ALL_DATA) as executor:
        assert executor.submit(double, 21).result(WAIT_S) == 42


def test_source_text_is_registered_and_run(executor: Executor) -> None:
    function = executor.register_source_code("def three():\n    return 3\n", "three")
    assert executor.submit_to_registered_function(function).result(WAIT_S) == 3


def test_a_batch_goes_in_one_request_and_a_repeat_is_harmless(
    client: Client, hub: StandInHub
) -> None:
    function = client.register_function(double)
    batch = client.create_batch(user_endpoint_config={"workers": 2}, request_queue=True)
    tasks = [batch.add(function, (number,)) for number in range(5)]
    answer = client.batch_run(ENDPOINT, batch)
    client.batch_run(ENDPOINT, batch)
    assert answer["tasks"] == {function: tasks}
    assert len(hub.documents) == 5
    with Executor(ENDPOINT, client) as executor:
        futures = {one.task_id: one for one in executor.reload_tasks(batch.task_group_id)}
        assert [futures[task].result(WAIT_S) for task in tasks] == [0, 2, 4, 6, 8]
    with pytest.raises(InvalidRequestError, match="batch is empty"):
        client.batch_run(ENDPOINT, client.create_batch())


def test_a_workers_hardware_is_told(client: Client, executor: Executor) -> None:
    function = client.get_worker_hardware_details(ENDPOINT)
    assert executor.submit(double, 1).result(WAIT_S) == 2  # one worker: that was before
    assert "Processors: " in client.get_result(function)


def test_another_python_over_there_is_told_before_the_first_task(
    executor: Executor, hub: StandInHub
) -> None:
    hub.python_version = "3.9.7"
    told = f"runs Python 3.9.7, and this is Python {platform.python_version()}"
    with pytest.warns(VersionMismatchWarning, match=told):
        executor.submit(double, 1).result(WAIT_S)


def test_where_warnings_are_errors_nothing_is_sent_to_another_python(
    executor: Executor, hub: StandInHub
) -> None:
    hub.python_version = "3.9.7"
    for _ in range(2):
        with pytest.raises(VersionMismatchWarning, match=r"Python 3\.9\.7"):
            executor.submit(double, 1).result(WAIT_S)
    assert hub.submits == []


def test_source_goes_to_another_python_without_a_word(client: Client, hub: StandInHub) -> None:
    hub.python_version = "3.9.7"
    source = chamberlain.serializer(code="AllCodeStrategies")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Executor(ENDPOINT, client, serializer=source) as executor:
            assert executor.submit(double, 1).result(WAIT_S) == 2


def test_the_workers_own_python_counts_when_it_is_known(
    executor: Executor, hub: StandInHub
) -> None:
    hub.worker_python = "3.8.1"
    executor.submit(double, 1).result(WAIT_S)
    with pytest.warns(VersionMismatchWarning, match=r"runs Python 3\.8\.1"):
        executor.submit(double, 1).result(WAIT_S)


def test_futures_can_be_awaited(client: Client) -> None:
    async def main() -> list[Any]:
        async with Executor(ENDPOINT, client) as executor:
            one = await executor.submit(double, 1)
            more = await asyncio.gather(*[executor.submit(double, n) for n in range(3)])
            with pytest.raises(KeyError):
                await executor.submit(fail)
            return [one, *more]

    assert asyncio.run(main()) == [2, 0, 2, 4]


def test_a_cancelled_coroutine_leaves_the_task_alone(executor: Executor, hub: StandInHub) -> None:
    async def main() -> chamberlain.ChamberlainFuture:
        hub.go.clear()
        future = executor.submit(double, 4)
        await asyncio.to_thread(hub.submit_came.acquire, timeout=WAIT_S)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.05)
        hub.go.set()
        return future

    assert asyncio.run(main()).result(WAIT_S) == 8


def test_an_interrupted_block_leaves_nothing_running(client: Client, hub: StandInHub) -> None:
    futures = []

    async def work() -> None:
        async with Executor(ENDPOINT, client) as executor:
            futures.append(executor.submit(double, 4))
            await asyncio.to_thread(hub.accepted.acquire, timeout=WAIT_S)
            await futures[0]

    async def main() -> None:
        hub.go.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(), 1.0)

    asyncio.run(main())
    assert futures[0].cancelled()
    with pytest.raises(KeyboardInterrupt), Executor(ENDPOINT, client) as executor:  # noqa: PT012
        futures.append(executor.submit(double, 5))
        raise KeyboardInterrupt
    assert futures[1].cancelled()
    hub.go.set()


def test_as_completed_yields_all_without_a_bar_off_a_terminal(
    executor: Executor, capfd: pytest.CaptureFixture[str]
) -> None:
    futures = [executor.submit(double, number) for number in range(4)]
    done = chamberlain.as_completed(futures, WAIT_S, progress=True)
    assert sorted(one.result() for one in done) == [0, 2, 4, 6]
    assert capfd.readouterr() == ("", "")


def test_bodies_stay_json(executor: Executor, hub: StandInHub) -> None:
    executor.resource_specification = {"priority": 1}
    executor.submit(double, 1).result(WAIT_S)
    assert json.dumps(hub.submits[0][1]["resource_specification"]) == '{"priority": 1}'
