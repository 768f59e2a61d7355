"""What the scenario stands on: its steps, and the few names that differ between the two SDKs.

Loads one of them, whichever is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

CODE = [
    "DillCode",
    "DillCodeTextInspect",
    "DillCodeSource",
    "CombinedCode",
    "PureSourceTextInspect",
    "PureSourceDill",
    "AllCodeStrategies",
]
DATA = ["DillDataBase64", "JSONData", "AllDataStrategies"]


WAIT_S = 90.0
STEPS: dict[str, Callable[[Any], None]] = {}


def step(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Make `function` a step of the scenario."""
    STEPS[function.__name__] = function
    return function


class Refused(NamedTuple):
    """A refusal by the hub, as a user of either SDK can read it."""

    status: int
    code: str
    text: str


class Sdk:
    """What both have in common."""

    code_strategies = CODE
    data_strategies = DATA
    client: Any

    def __init__(self, told: dict[str, Any], there: Any) -> None:
        self.told = told
        self.there = there
        self.endpoint: str = told["endpoint"]

    def stranger(self, token: str | None = None) -> Any:
        return type(self)(self.told | {"token": token or self.told["strangers_token"]}, self.there)

    def refused(self, call: Any) -> Refused:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - as_refused looks closer
            return self.as_refused(error)
        raise AssertionError("it was not refused")

    def run(self, function: str, *args: Any, endpoint: str | None = None) -> str:
        batch = self.client.create_batch()
        batch.add(function, args)
        return self.client.batch_run(endpoint or self.endpoint, batch)["tasks"][function][0]

    def new_group(self) -> str:
        """A task group that the hub knows."""
        function = self.client.register_source_code("def f():\n    pass\n", "f")
        batch = self.client.create_batch()
        batch.add(function)
        return self.client.batch_run(self.endpoint, batch)["task_group_id"]

    def wait_for(self, task: str, limit_s: float) -> Any:
        deadline = time.monotonic() + limit_s
        while True:
            try:
                return self.client.get_result(task)
            except self.TaskPending:
                assert time.monotonic() < deadline, "the task does not end"
                time.sleep(0.1)

    def failure_of(self, task: str, limit_s: float) -> Exception:
        try:
            self.wait_for(task, limit_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is asked for
            return error
        raise AssertionError("it did not fail")

    def root_of(self, error: BaseException) -> BaseException:
        while error.__cause__ is not None:
            error = error.__cause__
        return error

    def v2_submit(self, batch: Any) -> Any:
        body = self.body_of(batch)
        tasks = [
            [function, self.endpoint, payload]
            for function, payloads in body.pop("tasks").items()
            for payload in payloads
        ]
        return self.rest("POST", "/v2/submit", {**body, "tasks": tasks})


class Public(Sdk):
    """`globus-compute-sdk`, as pip installs it."""

    def __init__(self, told: dict[str, Any], there: Any) -> None:
        super().__init__(told, there)
        import globus_compute_sdk
        import globus_sdk
        from globus_compute_sdk import (
            Client,
            Executor,
            MPIFunction,
            ShellFunction,
            errors,
            serialize,
        )

        self.version = globus_compute_sdk.__version__
        self.TaskPending = errors.TaskPending
        self.TaskExecutionFailed = errors.TaskExecutionFailed
        self.DeserializationError = errors.DeserializationError
        self.ShellFunction, self.MPIFunction = ShellFunction, MPIFunction
        self._executor, self._serialize, self._globus_sdk = Executor, serialize, globus_sdk
        self._client = Client
        self.client = self._new_client()
        self.code_strategies = [one for one in CODE if hasattr(serialize, one)]
        self.data_strategies = [one for one in DATA if hasattr(serialize, one)]

    def _new_client(self) -> Any:
        how = {"local_compute_services": True}
        if token := self.told.get("token"):
            how["authorizer"] = self._globus_sdk.AccessTokenAuthorizer(token)
        return self._client(**how)

    def executor(self, **options: Any) -> Any:
        options = {"endpoint_id": self.endpoint, "task_group_id": None} | options
        self._executor._default_task_group_id = None
        # An executor hands its serializer on to its client.
        client = self._new_client() if "serializer" in options else self.client
        return self._executor(client=client, api_burst_limit=8, api_burst_window_s=1, **options)

    def serializer(self, code: str = "", data: str = "", allowed: Any = None) -> Any:
        return self._serialize.ComputeSerializer(
            strategy_code=getattr(self._serialize, code)() if code else None,
            strategy_data=getattr(self._serialize, data)() if data else None,
            **({"allowed_deserializer_types": self.strategies(*allowed)} if allowed else {}),
        )

    def strategies(self, *names: str) -> Any:
        return [getattr(self._serialize, name) for name in names]

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        web = getattr(self.client, "_compute_web_client", None)
        web = self.client.web_client if web is None else web.v3
        return web.request(method, path, data=body).data

    def body_of(self, batch: Any) -> Any:
        return batch.prepare()

    def as_refused(self, error: Any) -> Refused:
        assert isinstance(error, self._globus_sdk.GlobusAPIError), repr(error)
        return Refused(error.http_status, error.code, error.message)

    def as_failed(self, error: Any) -> Any:
        assert isinstance(error, self.TaskExecutionFailed), repr(error)
        return error

    def version_check(self) -> None:
        self.client.version_check(endpoint_version=self.version)

    def endpoint_status(self, endpoint: str) -> Any:
        return self.client.get_endpoint_status(endpoint)

    def endpoint_metadata(self, endpoint: str) -> Any:
        return self.client.get_endpoint_metadata(endpoint)

    def endpoints(self, role: str | None) -> Any:
        return self.client.get_endpoints(**({"role": role} if role else {}))

    def allowed_functions(self, endpoint: str) -> Any:
        return dict(self.client.get_allowed_functions(endpoint))

    def register_endpoint(self, name: str, endpoint_id: Any = None, **more: Any) -> str:
        return self.client.register_endpoint(name, endpoint_id, multi_user=True, **more)[
            "endpoint_id"
        ]

    def stop_endpoint(self, endpoint: str) -> Any:
        return self.client.stop_endpoint(endpoint)

    def delete_endpoint(self, endpoint: str) -> Any:
        return self.client.delete_endpoint(endpoint)


class Ours(Sdk):
    """`chamberlain`."""

    def __init__(self, told: dict[str, Any], there: Any) -> None:
        super().__init__(told, there)
        import chamberlain

        self._chamberlain = chamberlain
        self.TaskPending = chamberlain.TaskPendingError
        self.TaskExecutionFailed = chamberlain.TaskExecutionFailed
        self.DeserializationError = chamberlain.DeserializationError
        self.ShellFunction, self.MPIFunction = chamberlain.ShellFunction, chamberlain.MPIFunction
        self.client = chamberlain.Client(told["hub_url"], told["token"])

    def executor(self, **options: Any) -> Any:
        options = {"endpoint_id": self.endpoint} | options
        return self._chamberlain.Executor(client=self.client, **options)

    def serializer(self, **how: Any) -> Any:
        return self._chamberlain.serializer(**how)

    def strategies(self, *names: str) -> Any:
        return list(names)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        rest = self.client.rest
        return rest.get(path) if method == "GET" else rest.post(path, body)

    def body_of(self, batch: Any) -> Any:
        import json

        body = batch.prepare()
        body = json.loads(body) if isinstance(body, bytes | str) else dict(body)
        body.pop("task_ids", None)
        return body

    def as_refused(self, error: Any) -> Refused:
        assert isinstance(error, self._chamberlain.errors.HubError), repr(error)
        return Refused(error.status, error.word, error.public)

    def as_failed(self, error: Any) -> Any:
        """Ours raises the function's own exception; the remote end is its cause."""
        if isinstance(error, self.TaskExecutionFailed):
            return error  # the public agent sends text alone
        assert isinstance(error.__cause__, self.TaskExecutionFailed), repr(error)
        return error.__cause__

    def version_check(self) -> None:
        assert {"api", "min_sdk_version", "min_ep_version"} <= self.client.version().keys()

    def endpoint_status(self, endpoint: str) -> Any:
        return self.client.endpoint_status(endpoint)

    def endpoint_metadata(self, endpoint: str) -> Any:
        return self.client.endpoint_metadata(endpoint)

    def endpoints(self, role: str | None) -> Any:
        return self.client.endpoints(**({"role": role} if role else {}))

    def allowed_functions(self, endpoint: str) -> Any:
        return self.client.allowed_functions(endpoint)

    def register_endpoint(self, name: str, endpoint_id: Any = None, **more: Any) -> str:
        body = {"endpoint_name": name, "multi_user": True, **more}
        if endpoint_id:
            body["endpoint_uuid"] = endpoint_id
        return self.client.rest.post("/v3/endpoints", body)["endpoint_id"]

    def stop_endpoint(self, endpoint: str) -> Any:
        return self.client.rest.post(f"/v3/endpoints/{endpoint}/lock", {})

    def delete_endpoint(self, endpoint: str) -> Any:
        return self.client.rest.delete(f"/v2/endpoints/{endpoint}")


def make(told: dict[str, Any], there: Any) -> Any:
    """The SDK that `told` names; `there` holds the functions that may be sent."""
    return {"public": Public, "ours": Ours}[told["sdk"]](told, there)
