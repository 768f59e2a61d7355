"""Who the hub deals with, played by the tests: callers, a manager, user endpoints, an SDK."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import urllib3

from chamberlain_wire import codec
from chamberlain_wire.broker.port import Broker, Delivery, Outgoing
from chamberlain_wire.details import USAGE, Usage
from chamberlain_wire.messages import (
    ControlOrder,
    EndpointEvent,
    ErrorDetails,
    Result,
    StartCommand,
    StatusReport,
    Task,
)

WAIT_S = 10.0

T = TypeVar("T")

Connect = Callable[[str], Broker]
"""Opens a broker connection with a URL from the hub."""


def eventually(what: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
    """Return what `what` returns once it is true; fail when it never is."""
    deadline = time.monotonic() + wait_s
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        pause.wait(0.01)
    raise AssertionError(f"never came true: {what}")


@dataclass(frozen=True)
class Answer:
    status: int
    document: Any
    headers: Any

    def ok(self) -> Any:
        assert self.status == 200, (self.status, self.document)
        return self.document


class Caller:
    """Somebody with a token (or without)."""

    def __init__(self, base_url: str, token: str | None, identity: str = "") -> None:
        self.identity = identity
        self._base_url = base_url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(retries=False, timeout=30.0)

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self.send(method, path, data)

    def send(self, method: str, path: str, data: Any, **headers: str) -> Answer:
        answer = self._pool.request(
            method,
            self._base_url + path,
            body=data,
            headers={**self._headers, "Content-Type": "application/json", **headers},
        )
        return Answer(answer.status, json.loads(answer.data or b"null"), answer.headers)

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        return self.ask("POST", path, body)

    def put(self, path: str, body: object) -> Answer:
        return self.ask("PUT", path, body)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    def function(self, code: str = "4\n01\nf", **more: Any) -> str:
        body = {"function_name": "f", "function_code": code, **more}
        return str(self.post("/v3/functions", body).ok()["function_uuid"])

    def submit(self, endpoint: str, function: str, *payloads: str, **more: Any) -> Answer:
        body = {"tasks": {function: list(payloads or ("args",))}, "create_queue": True, **more}
        return self.post(f"/v3/endpoints/{endpoint}/submit", body)

    def task(self, task_id: str) -> Any:
        return self.get(f"/v2/tasks/{task_id}").ok()

    def ended(self, task_id: str) -> Any:
        """Wait until the task has ended and return its document."""
        return eventually(
            lambda: (one := self.task(task_id))["status"] in ("success", "failed") and one
        )

    def close(self) -> None:
        self._pool.clear()


def taken(broker: Broker, name: str, **options: Any) -> queue.SimpleQueue[Delivery]:
    """Consume a queue, acknowledging at once."""
    came: queue.SimpleQueue[Delivery] = queue.SimpleQueue()

    def take(delivery: Delivery) -> None:
        broker.ack(delivery)
        came.put(delivery)

    broker.consume(name, take, **options)
    return came


class UserEndpoint:
    """One user endpoint, with the credentials of its start command."""

    def __init__(self, command: StartCommand, connect: Connect) -> None:
        creds = command.kwargs.amqp_creds
        self.id = creds.endpoint_id
        self.url = creds.task_queue_info.connection_url
        self.broker = connect(self.url)
        self.tasks = taken(self.broker, creds.task_queue_info.queue, exclusive=True)
        control = creds.control_queue_info
        self.orders = None if control is None else taken(self.broker, control.queue)
        self._results = creds.result_queue_info.queue_publish_kwargs or {}
        self._heartbeats = creds.heartbeat_queue_info.queue_publish_kwargs or {}

    def beat(self, period: float = 30, **state: Any) -> None:
        report = StatusReport(
            endpoint_id=self.id,
            global_state={"heartbeat_period": period, "ledger": True, **state},
        )
        self.publish(self._heartbeats, codec.encode(report))

    def next_order(self) -> ControlOrder:
        assert self.orders is not None
        return codec.decode(self.orders.get(timeout=WAIT_S).body, ControlOrder)

    def answer_cancel(self, task_id: str, outcome: str) -> None:
        """Say what became of a cancelled task, as our user endpoint does."""
        error = ErrorDetails(code="TASK_CANCELLED", user_message=outcome)
        details = {"endpoint_id": self.id, "cancelled": outcome}
        result = Result(task_id=task_id, data=outcome, details=details, error_details=error)
        self.publish(self._results, codec.encode(result))

    def next_task(self) -> tuple[Task, Delivery]:
        delivery = self.tasks.get(timeout=WAIT_S)
        return codec.decode(delivery.body, Task), delivery

    def finish(
        self, task_id: str, data: str = "done", error: str | None = None, job: str = ""
    ) -> bytes:
        failed = None if error is None else ErrorDetails(code=error, user_message=data)
        told = {USAGE: msgspec.to_builtins(Usage(job_id=job))} if job else None
        result = Result(task_id=task_id, data=data, error_details=failed, details=told)
        body = codec.encode(result)
        self.publish(self._results, body)
        return body

    def publish(self, where: dict[str, Any], body: bytes) -> None:
        self.broker.publish(Outgoing(where["exchange"], where["routing_key"], body)).result(WAIT_S)

    def close(self) -> None:
        self.broker.close()


@dataclass
class Manager:
    """One endpoint's manager."""

    endpoint: str
    url: str
    broker: Broker
    connect: Connect
    commands: queue.SimpleQueue[Delivery]
    heartbeats: dict[str, Any]
    children: list[UserEndpoint] = field(default_factory=list)
    last: StartCommand | None = None

    @classmethod
    def registered(cls, answer: dict[str, Any], connect: Connect) -> Manager:
        info = answer["command_queue_info"]
        broker = connect(info["connection_url"])
        return cls(
            answer["endpoint_id"],
            info["connection_url"],
            broker,
            connect,
            taken(broker, info["queue"]),
            answer["heartbeat_queue_info"]["queue_publish_kwargs"],
        )

    def next_command(self, wait_s: float = WAIT_S) -> StartCommand:
        self.last = codec.decode_command(self.commands.get(timeout=wait_s).body)
        return self.last

    def report(self, *events: EndpointEvent, **state: Any) -> None:
        report = StatusReport(
            endpoint_id=self.endpoint, global_state=dict(state), events=list(events)
        )
        where = self.heartbeats
        message = Outgoing(where["exchange"], where["routing_key"], codec.encode(report))
        self.broker.publish(message).result(WAIT_S)

    def beat(self) -> None:
        self.report(heartbeat_period=30)

    def say(self, kind: Any, command: StartCommand | None, **more: Any) -> None:
        """Tell an event about the user endpoint of `command`."""
        assert command is not None
        user_endpoint = command.kwargs.amqp_creds.endpoint_id
        told = {"command": command_id(command), **more}
        self.report(EndpointEvent(kind=kind, user_endpoint=user_endpoint, **told))

    def start(self, command: StartCommand) -> UserEndpoint:
        """Admit and start what `command` asks for."""
        self.say("admitted", command)
        child = UserEndpoint(command, self.connect)
        self.children.append(child)
        child.beat()
        return child

    def close(self) -> None:
        for child in self.children:
            child.close()
        self.broker.close()


def command_id(command: StartCommand) -> str:
    import base64

    payload = command.assertion.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["id"])


class Sdk:
    """A session that reads the results of task groups."""

    def __init__(self, caller: Caller, connect: Connect) -> None:
        session = caller.get("/v2/get_amqp_result_connection_url").ok()
        self.session_id = session["session_id"]
        self.prefix = session["queue_prefix"]
        self.url = session["connection_url"]
        self.broker = connect(self.url)

    def results(self, group: str) -> queue.SimpleQueue[Delivery]:
        return taken(self.broker, self.prefix + group)

    def close(self) -> None:
        self.broker.close()


@contextmanager
def meanwhile(work: Callable[[], T]) -> Iterator[Future[T]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def served(alice: Caller, manager: Manager) -> tuple[UserEndpoint, str]:
    """Return a user endpoint of alice that serves, idle, and a function of hers."""
    function = alice.function()
    with meanwhile(lambda: alice.submit(manager.endpoint, function)) as asked:
        child = manager.start(manager.next_command())
    task_id = asked.result().ok()["tasks"][function][0]
    child.next_task()
    child.finish(task_id)
    alice.ended(task_id)
    return child, function


def silent(came: queue.SimpleQueue[object]) -> bool:
    try:
        came.get(timeout=0.6)
    except queue.Empty:
        return True
    return False


def only_task(answer: Answer, function: str) -> str:
    (task_id,) = answer.ok()["tasks"][function]
    return str(task_id)
