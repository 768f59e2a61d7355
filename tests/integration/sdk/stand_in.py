"""A hub and a worker for one test, over loopback HTTP and a real RabbitMQ.

It knows the routes that the SDK uses, runs tasks in a thread of its own, and can be told to
refuse, to be away, and to hold results back.
"""

from __future__ import annotations

import json
import platform
import queue
import threading
import time
import traceback
import urllib.parse
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from chamberlain_endpoint.engine import thread_output
from chamberlain_wire.broker.port import Link, Outgoing
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.codec import encode
from chamberlain_wire.details import EXCEPTION, OUTPUT, Output, plain
from chamberlain_wire.errors import SerializationError
from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import TASK_OUTPUT_BYTES
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import ErrorDetails, Result, TaskTransition
from chamberlain_wire.serialize import pack_exception, pack_result, unpack_task
from devtools.rabbit import PrivateRabbit

TOKEN = "chp_test"
_Entry = tuple[str, str, str, list[str] | None]
PREFIX = "results.11111111-1111-4111-8111-111111111111."


class StandInHub:
    def __init__(self, rabbit: PrivateRabbit) -> None:
        self.rabbit = rabbit
        self.linked = threading.Semaphore(0)
        """Released whenever the broker's link comes up."""
        self.broker = RabbitBroker(
            Secret(rabbit.amqp_url),
            name="stand-in",
            on_link=lambda link: self.linked.release() if link is Link.UP else None,
        )
        self.broker.open()
        self.functions: dict[str, str] = {}
        self.registrations: list[dict[str, Any]] = []
        self.submits: list[tuple[str, dict[str, Any]]] = []
        self.task_groups: dict[str, list[str]] = defaultdict(list)
        self.documents: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, dict[str, Any]] = {}
        """What `GET /v3/tasks/{id}/logs` answers."""
        self.listed: list[dict[str, Any]] = []
        """What `GET /v3/tasks` answers."""
        self.batch_status_calls = 0
        self.sessions: list[str] = []
        self.ended_sessions: list[str] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        """Answers to the next submits, instead of taking them."""
        self.session_answers: list[tuple[int, dict[str, Any]]] = []
        """The same for the next sessions."""
        self.refuse_function: tuple[str, int, dict[str, Any]] | None = None
        self.most_tasks = 10_000
        """More in one request are too large."""
        self.unauthorized = False
        self.python_version = platform.python_version()
        """What the endpoint says of itself, and its worker of itself."""
        self.worker_python = platform.python_version()
        self.worker_facts: dict[str, Any] = {}
        self.result_has_output = True
        self.go = threading.Event()
        self.go.set()
        """Tasks run while it is set."""
        self.submit_gate = threading.Event()
        self.submit_gate.set()
        """Submits are answered while it is set."""
        self.submit_came = threading.Semaphore(0)
        self.accepted = threading.Semaphore(0)
        """Released when the tasks of a submit are taken."""
        self.cancel_answer = "cancelled"
        self.push = True
        """Results are pushed, not only kept."""
        self._tasks: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                hub.answer(self, "GET", None)

            def do_DELETE(self) -> None:
                hub.answer(self, "DELETE", None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.answer(self, "POST", json.loads(body))

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass

        self.away = False
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self.away = True
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        self.go.set()
        self.submit_gate.set()
        self.stop()
        self._tasks.put(None)
        self._worker.join(10)
        self.broker.close()

    def answer(self, handler: BaseHTTPRequestHandler, method: str, body: Any) -> None:
        path = handler.path.partition("?")[0]
        if self.away:
            handler.close_connection = True
            return
        if self.unauthorized or handler.headers["Authorization"] != f"Bearer {TOKEN}":
            status, document = 401, error(401, "UNAUTHENTICATED", "Token is not valid.")
        else:
            status, document = self.route(method, path, body)
        data = json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def route(  # noqa: C901, PLR0911, PLR0912 - one line a route
        self, method: str, path: str, body: Any
    ) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "v2", "get_amqp_result_connection_url"):
                if self.session_answers:
                    return self.session_answers.pop(0)
                return 200, self.session()
            case ("DELETE", "v3", "sessions", session):
                self.ended_sessions.append(session)
                return 200, {}
            case ("POST", "v3", "functions"):
                function = new_id()
                self.functions[function] = body["function_code"]
                self.registrations.append(body)
                return 200, {"function_uuid": function}
            case ("POST", "v3", "endpoints", endpoint, "submit"):
                self.submit_came.release()
                self.submit_gate.wait(30)
                return self.submit(endpoint, body)
            case ("POST", "v2", "batch_status"):
                self.batch_status_calls += 1
                asked = [one for one in body["task_ids"] if one in self.documents]
                found = {one: self.documents[one] for one in asked}
                return 200, {"response": "batch", "results": found}
            case ("POST", "v3", "tasks", "cancel"):
                return 200, {"tasks": {one: self.cancel(one) for one in body["task_ids"]}}
            case ("GET", "v2", "tasks", task):
                return 200, self.documents[task]
            case ("GET", "v3", "tasks", task, "logs"):
                if task not in self.logs:
                    return 404, error(404, "TASK_NOT_FOUND", f"There is no task {task}.")
                return 200, self.logs[task]
            case ("GET", "v2", "taskgroup", group):
                return 200, {"tasks": [{"id": one} for one in self.task_groups[group]]}
            case ("GET", "v2", "oauth2", "userinfo"):
                me = {"sub": new_id(), "preferred_username": "alice@example.edu", "name": "Alice"}
                return 200, me | {"identity_set": []}
            case ("GET", "v2", "endpoints"):
                return 200, [{"uuid": ENDPOINT, "name": "lab", "display_name": "Lab cluster"}]
            case ("GET", "v2", "endpoints", endpoint):
                return 200, {"metadata": {"python_version": self.python_version}}
            case ("GET", "v2", "endpoints", _, "status"):
                return 200, {"status": "online", "details": {}}
            case ("GET", "v3", "functions"):
                listed = [
                    {"function_uuid": one, "function_name": body["function_name"]}
                    for one, body in zip(self.functions, self.registrations, strict=True)
                ]
                return 200, {"functions": listed}
            case ("GET", "v3", "tasks"):
                return 200, {"tasks": self.listed}
        return 404, error(404, "NOT_FOUND", f"no route {path}")

    def session(self) -> dict[str, str]:
        session = new_id()
        user = f"sdk.{session}"
        self.sessions.append(session)
        self.rabbit.api("PUT", f"/api/users/{user}", {"password": "secret", "tags": ""})
        permissions = {"configure": "^$", "write": "^$", "read": "^results\\."}
        self.rabbit.api("PUT", f"/api/permissions/%2F/{user}", permissions)
        return {
            "session_id": session,
            "queue_prefix": PREFIX,
            "connection_url": f"amqp://{user}:secret@127.0.0.1:{self.rabbit.ports.amqp}/%2F",
        }

    def revoke_sessions(self) -> None:
        for session in self.sessions:
            self.rabbit.api("DELETE", f"/api/users/sdk.{session}")
        # RabbitMQ keeps connections of deleted users: end them as the hub does.
        self.drop_connections()

    def drop_connections(self) -> int:
        """End what SDKs have open; return how many the management interface knew."""
        found = [
            one["name"]
            for one in self.rabbit.api("GET", "/api/connections") or []  # type: ignore[attr-defined]
            if one.get("user", "").startswith("sdk.")
        ]
        for name in found:
            self.rabbit.api("DELETE", f"/api/connections/{urllib.parse.quote(name)}")
        return len(found)

    def submit(self, endpoint: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.submits.append((endpoint, body))
        if self.answers:
            return self.answers.pop(0)
        if self.refuse_function and self.refuse_function[0] in body["tasks"]:
            return self.refuse_function[1:]
        if sum(map(len, body["tasks"].values())) > self.most_tasks:
            return 413, error(413, "TASK_PAYLOAD_TOO_LARGE", "too large")
        group = body["task_group_id"]
        wanted = body.get("result_serializers")
        if body["create_queue"]:
            self.broker.declare_queue(PREFIX + group)
        for function, payloads in body["tasks"].items():
            if function not in self.functions:
                return 404, error(404, "FUNCTION_NOT_FOUND", "No such function.")
            for task, payload in zip(body["task_ids"][function], payloads, strict=True):
                if task in self.documents:
                    continue
                self.documents[task] = {"task_id": task, "status": "waiting-for-ep"}
                self.task_groups[group].append(task)
                self._tasks.put((group, task, self.functions[function] + payload, wanted))
        self.accepted.release()
        return 200, {
            "request_id": new_id(),
            "task_group_id": group,
            "endpoint_id": endpoint,
            "tasks": body["task_ids"],
        }

    def tell_cancelled(self, group: str, task: str) -> None:
        """Cancel a task, and tell it as the hub does."""
        self.cancel(task)
        why = ErrorDetails(code="TASK_CANCELLED", user_message="cancelled")
        result = Result(task_id=task, data="cancelled", error_details=why)
        self.broker.publish(Outgoing("", PREFIX + group, encode(result)))

    def cancel(self, task: str) -> str:
        document = self.documents.get(task)
        if document is None:
            return "unknown"
        if "completion_t" in document and document["status"] != "cancelled":
            return "ended"
        self.documents[task] = {"task_id": task, "status": "cancelled", "completion_t": "1.0"}
        return self.cancel_answer

    def _work(self) -> None:
        while (entry := self._tasks.get()) is not None:
            self.go.wait(30)
            group, task, text, wanted = entry
            facts = {"python_version": self.worker_python, **self.worker_facts}
            result = run(task, text, facts, wanted)
            self.logs[task] = logs_of(result)
            if not self.result_has_output:
                result = msgspec.structs.replace(result, details=plain(result.details))
            failed = result.error_details is not None
            if self.documents[task]["status"] == "cancelled":
                continue
            self.documents[task] = {
                "task_id": task,
                "status": "failed" if failed else "success",
                ("exception" if failed else "result"): result.data,
                "completion_t": "1.0",
            }
            if self.push:
                self.broker.publish(Outgoing("", PREFIX + group, encode(result)))


OUR_FACTS = {"python_version": platform.python_version()}
ENDPOINT = "22222222-2222-4222-8222-222222222222"


def error(status: int, code: str, message: str) -> dict[str, Any]:
    return {"status": "Failed", "http_status_code": status, "code": code, "message": message}


def run(
    task: str, text: str, facts: Mapping[str, Any] = OUR_FACTS, wanted: list[str] | None = None
) -> Result:
    began = TaskTransition(timestamp=time.time_ns(), state="execution-start", actor="worker")
    with thread_output.caught(TASK_OUTPUT_BYTES) as printed:
        fields = ended(text, wanted)
    packed = fields.pop("exception", None)
    extras = {OUTPUT: printed[0]} | ({} if packed is None else {EXCEPTION: packed})
    details = {"hostname": "node1", **facts, **extras}
    return Result(task_id=task, details=details, task_statuses=[began], **fields)


def ended(text: str, wanted: list[str] | None) -> dict[str, Any]:
    try:
        function, args, kwargs = unpack_task(text)
        return {"data": pack_result(function(*args, **kwargs), wanted)}
    except SerializationError as fault:
        data, packed = fault.public, None
    except BaseException as fault:  # noqa: BLE001 - sys.exit as well, as a worker does
        data, packed = traceback.format_exc(), pack_exception(fault)
    why = ErrorDetails(code="RemoteExecutionError", user_message="the function raised")
    return {"data": data, "error_details": why, "exception": packed}


def logs_of(result: Result) -> dict[str, Any]:
    assert result.details is not None
    output: Output = result.details[OUTPUT]
    streams = {
        name: {"text": stream.text, "cut_bytes": stream.cut_bytes}
        for name, stream in (("stdout", output.stdout), ("stderr", output.stderr))
    }
    return {"task_id": result.task_id, "captured": True, "reason": "", **streams}
