"""One scenario for either SDK. A program of its own: nothing of pytest or of ours is needed.

`python scenario.py < told.json` runs the steps that it is told, of this file and of
`refusals.py`, and prints a line of JSON for each. The steps say what users do; where the two
SDKs have other names for it, `adaptors.py` knows.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import pickle
import sys
import time
import traceback
import uuid
import warnings
from typing import Any

import refusals  # noqa: F401 - its steps belong to the scenario
from adaptors import STEPS, WAIT_S, Refused, make, step

# What runs over there. Everything a function needs stands inside it, and it stands in the script
# itself: the public SDK sends functions of a script by value, and those of modules by name.


def double(number):
    return 2 * number


def keywords(first, *, second="unset"):
    return f"{first}-{second}"


def nothing():
    return None


def divide():
    return 1 / 0


def big(size_bytes):
    return "x" * size_bytes


def doze(seconds):
    import time

    time.sleep(seconds)
    return "awake"


def a_function():
    def inner():
        return 42

    return inner


# How tasks run.


@step
def executor_submits_and_returns(sdk):
    with sdk.executor() as executor:
        assert executor.submit(double, 21).result(WAIT_S) == 42


@step
def executor_takes_keywords_and_nothing(sdk):
    with sdk.executor() as executor:
        futures = [executor.submit(keywords, "a", second="b"), executor.submit(nothing)]
        assert [future.result(WAIT_S) for future in futures] == ["a-b", None]


@step
def executor_sends_batches_of_128(sdk):
    with sdk.executor(batch_size=128) as executor:
        futures = [executor.submit(double, number) for number in range(256)]
        assert [future.result(WAIT_S) for future in futures] == [2 * one for one in range(256)]
        assert executor.task_count_submitted == 256
        assert len({future.task_id for future in futures}) == 256


@step
def futures_complete_in_any_order(sdk):
    import concurrent.futures

    with sdk.executor() as executor:
        futures = [executor.submit(double, number) for number in range(5)]
        done = concurrent.futures.as_completed(futures, timeout=WAIT_S)
        assert sorted(future.result() for future in done) == [0, 2, 4, 6, 8]


@step
def registered_functions_run_by_id(sdk):
    function = sdk.client.register_function(double, description="doubles", public=True)
    with sdk.executor() as executor:
        future = executor.submit_to_registered_function(function, args=(4,))
        assert future.result(WAIT_S) == 8
    told = sdk.client.get_function(function)
    assert (told["function_name"], told["description"]) == ("double", "doubles")
    sdk.client.delete_function(function)
    assert sdk.refused(lambda: sdk.client.get_function(function)).status == 404


@step
def functions_register_by_v2_and_v3(sdk):
    packed = sdk.client.get_function(sdk.client.register_function(double))["function_code"]
    body = {"function_name": "double", "function_code": packed, "meta": {"sdk_version": "1"}}
    for version in ("v2", "v3"):
        function = sdk.rest("POST", f"/{version}/functions", body)["function_uuid"]
        with sdk.executor() as executor:
            assert executor.submit_to_registered_function(function, (1,)).result(WAIT_S) == 2


@step
def source_code_registers(sdk):
    source = "def triple(number):\n    return 3 * number\n"
    function = sdk.client.register_source_code(source, "triple")
    with sdk.executor() as executor:
        assert executor.submit_to_registered_function(function, (5,)).result(WAIT_S) == 15


@step
def client_runs_one(sdk):
    function = sdk.client.register_function(double)
    task = sdk.run(function, 8)
    assert sdk.wait_for(task, WAIT_S) == 16
    assert sdk.client.get_result(task) == 16


@step
def client_runs_a_batch(sdk):
    functions = [sdk.client.register_function(one) for one in (double, keywords)]
    batch = sdk.client.create_batch()
    for number in range(128):
        batch.add(functions[0], (number,))
    batch.add(functions[1], args=("x",), kwargs={"second": "y"})
    answer = sdk.client.batch_run(sdk.endpoint, batch)
    assert uuid.UUID(answer["task_group_id"])
    assert uuid.UUID(answer["endpoint_id"])
    assert uuid.UUID(answer["request_id"])
    doubled, (worded,) = (answer["tasks"][function] for function in functions)
    assert len(set(doubled)) == 128
    assert sdk.wait_for(worded, WAIT_S) == "x-y"
    deadline = time.monotonic() + WAIT_S
    while True:
        results = sdk.client.get_batch_result(doubled)
        if not any(results[task]["pending"] for task in doubled):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [results[task]["result"] for task in doubled] == [2 * one for one in range(128)]
    assert {results[task]["status"] for task in doubled} == {"success"}


@step
def v2_submit_runs(sdk):
    function = sdk.client.register_function(double)
    batch = sdk.client.create_batch()
    batch.add(function, (6,))
    (told,) = sdk.v2_submit(batch)["results"]
    assert told["http_status_code"] == 200
    assert sdk.wait_for(told["task_uuid"], WAIT_S) == 12


@step
def task_groups_are_kept_and_listed(sdk):
    group = sdk.new_group()
    with sdk.executor(task_group_id=group) as executor:
        futures = [executor.submit(double, number) for number in range(3)]
        assert [future.result(WAIT_S) for future in futures] == [0, 2, 4]
    listed = sdk.rest("GET", f"/v2/taskgroup/{group}")
    assert listed["taskgroup_id"] == group
    ids = {one["id"] for one in listed["tasks"]}
    assert {future.task_id for future in futures} <= ids


@step
def tasks_reload(sdk):
    group = sdk.new_group()
    with sdk.executor(task_group_id=group) as executor:
        futures = [executor.submit(double, number) for number in range(3)]
        assert [future.result(WAIT_S) for future in futures] == [0, 2, 4]
    with sdk.executor() as executor:
        again = {one.task_id: one for one in executor.reload_tasks(group)}
        assert again.keys() >= {future.task_id for future in futures}
        assert [again[one.task_id].result(WAIT_S) for one in futures] == [0, 2, 4]


@step
def configuration_makes_its_own_user_endpoint(sdk):
    function = sdk.client.register_function(double)
    seen = set()
    for workers in (1, 2):
        batch = sdk.client.create_batch(user_endpoint_config={"MAX_WORKERS": workers})
        batch.add(function, (workers,))
        answer = sdk.client.batch_run(sdk.endpoint, batch)
        seen.add(answer["endpoint_id"])
        assert sdk.wait_for(answer["tasks"][function][0], WAIT_S) == 2 * workers
        with sdk.executor(user_endpoint_config={"MAX_WORKERS": workers}) as executor:
            assert executor.submit(double, 5).result(WAIT_S) == 10
    assert len(seen) == 2


@step
def every_code_strategy(sdk):
    for name in sdk.code_strategies:
        with sdk.executor(serializer=sdk.serializer(code=name)) as executor:
            assert executor.submit(double, 3).result(WAIT_S) == 6, name


@step
def functions_pickled_long_ago_run(sdk):
    """`PickleCode`: no SDK writes it any more, every worker reads it."""
    buffer = "02\n" + base64.b64encode(pickle.dumps(math.sqrt)).decode()
    body = {
        "function_name": "sqrt",
        "function_code": f"{len(buffer)}\n{buffer}",
        "meta": {"sdk_version": "1"},
    }
    function = sdk.rest("POST", "/v3/functions", body)["function_uuid"]
    with sdk.executor() as executor:
        assert executor.submit_to_registered_function(function, (16,)).result(WAIT_S) == 4


@step
def every_data_strategy(sdk):
    for name in sdk.data_strategies:
        with sdk.executor(serializer=sdk.serializer(data=name)) as executor:
            assert executor.submit(keywords, "d", second=name).result(WAIT_S) == f"d-{name}"


@step
def every_result_serializer(sdk):
    for name in sdk.data_strategies:
        with sdk.executor(result_serializers=sdk.strategies(name)) as executor:
            assert executor.submit(double, 4).result(WAIT_S) == 8, name
    for name in {"DillCode", "AllCodeStrategies"} & set(sdk.code_strategies):
        wanted = sdk.strategies(name, "DillDataBase64")
        with sdk.executor(result_serializers=wanted) as executor:
            assert executor.submit(a_function).result(WAIT_S)() == 42, name


@step
def shell_function(sdk):
    greet = sdk.ShellFunction("echo hello {who}; echo oops >&2; exit 3")
    with sdk.executor() as executor:
        result = executor.submit(greet, who="world").result(WAIT_S)
    assert result.returncode == 3
    assert result.stdout == "hello world\n"
    assert "oops\n" in result.stderr
    assert result.cmd.startswith("echo hello world")
    assert result.exception_name == "subprocess.CalledProcessError"


@step
def shell_function_as_dictionary(sdk):
    told = sdk.ShellFunction("echo {number}", return_dict=True, name="numbered")
    with sdk.executor() as executor:
        assert executor.submit(told, number=7).result(WAIT_S)["stdout"] == "7\n"


@step
def shell_function_at_its_walltime(sdk):
    late = sdk.ShellFunction("echo begun; sleep 30", walltime=1)
    with sdk.executor() as executor:
        result = executor.submit(late).result(WAIT_S)
    assert (result.returncode, result.stdout) == (124, "begun\n")
    assert result.exception_name == "subprocess.TimeoutExpired"


@step
def mpi_function_travels(sdk):
    """Wire form: the specification reaches the engine, which says that it runs no MPI."""
    hostname = sdk.MPIFunction("hostname")
    wanted = {"num_nodes": 1, "ranks_per_node": 2}
    with sdk.executor(resource_specification=wanted) as executor:
        error = executor.submit(hostname).exception(WAIT_S)
    assert isinstance(error, sdk.TaskExecutionFailed)
    assert "resource" in str(error).lower()


@step
def worker_hardware_details(sdk):
    task = sdk.client.get_worker_hardware_details(sdk.endpoint)
    assert "python" in sdk.wait_for(task, WAIT_S).lower()


# What can be asked.


@step
def version_check_passes(sdk):
    sdk.version_check()


@step
def endpoint_status_and_metadata(sdk):
    status = sdk.endpoint_status(sdk.endpoint)
    assert status["status"] == "online"
    assert status["details"]["heartbeat_period"] > 0
    told = sdk.endpoint_metadata(sdk.endpoint)
    assert told["uuid"] == sdk.endpoint
    assert told["multi_user"] is True


@step
def endpoints_by_role(sdk):
    assert sdk.endpoint in [one["uuid"] for one in sdk.endpoints("owner")]
    assert sdk.endpoint in [one["uuid"] for one in sdk.endpoints("any")]
    assert sdk.endpoint in [one["uuid"] for one in sdk.endpoints(None)]


@step
def allowed_functions_are_told_and_held(sdk):
    allowed = sdk.client.register_function(double)
    other = sdk.client.register_function(nothing)
    endpoint = sdk.register_endpoint(f"listed-{uuid.uuid4()}", allowed_functions=[allowed])
    try:
        told = sdk.allowed_functions(endpoint)
        expected = {"endpoint_id": endpoint, "restricted": True, "functions": [allowed]}
        # A hub may say more; what the public clients read is exactly this.
        assert {name: told[name] for name in expected} == expected
        refused = sdk.refused(lambda: sdk.run(other, endpoint=endpoint))
        assert (refused.status, refused.code) == (403, "FUNCTION_NOT_PERMITTED")
        assert other in refused.text
        with sdk.executor(endpoint_id=endpoint) as executor:
            error = executor.submit_to_registered_function(other).exception(WAIT_S)
            assert sdk.as_refused(error).code == "FUNCTION_NOT_PERMITTED"
    finally:
        sdk.delete_endpoint(endpoint)
    assert sdk.allowed_functions(sdk.endpoint)["restricted"] is False


@step
def endpoints_stop_and_are_deleted(sdk):
    endpoint = sdk.register_endpoint(f"short-{uuid.uuid4()}")
    stopped = sdk.stop_endpoint(endpoint)
    assert stopped["endpoint_uuid"] == endpoint
    assert stopped["lock_expiration_timestamp"]
    # Locked: it may not register again for a moment.
    again = sdk.refused(lambda: sdk.register_endpoint("short", endpoint_id=endpoint))
    assert again == Refused(423, "ENDPOINT_LOCKED", again.text)
    for version in ("v2", "v3"):
        told = sdk.rest("POST", f"/{version}/endpoints/{endpoint}/lock", {})
        assert told["endpoint_uuid"] == endpoint
    sdk.delete_endpoint(endpoint)
    assert sdk.refused(lambda: sdk.endpoint_status(endpoint)).code == "ENDPOINT_NOT_FOUND"


class Heard(logging.Handler):
    """What was logged as a warning, and what was warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        logging.getLogger().addHandler(self)
        warnings.showwarning = lambda text, *_: self.said.append(f"warning: {text}")
        warnings.simplefilter("always")

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()}")


def main() -> None:
    told: dict[str, Any] = json.load(sys.stdin)
    heard = Heard()
    sdk = make(told, there=sys.modules[__name__])
    for name in told["steps"]:
        began = time.monotonic()
        error = ""
        try:
            STEPS[name](sdk)
        except BaseException:  # noqa: BLE001 - a step that fails must not end the others
            error = traceback.format_exc()
        took_s = round(time.monotonic() - began, 2)
        line = {"step": name, "error": error, "took_s": took_s, "heard": heard.said[:]}
        heard.said.clear()
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
