"""One user endpoint as a real process, with the hub's side of the broker. For tests and benches.

What the launcher and the hub do for it in production, this does here: the order and the lease
on its standard input, its queues, its tasks, its results.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from chamberlain_endpoint.rendered import ConfigInvalidError, parse
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery, Outgoing
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.ids import EndpointId, TaskId, new_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import Result, StatusReport, Task
from chamberlain_wire.serialize import pack_function, pack_payload, unpack_result

WAIT_S = 30.0


class HubSide:
    """The queues of one user endpoint, seen from the hub."""

    def __init__(self, url: str) -> None:
        self.user_endpoint = EndpointId(new_id())
        self.url = url
        self.broker = RabbitBroker(Secret(url), name="test-hub")
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.heartbeats: queue.SimpleQueue[StatusReport] = queue.SimpleQueue()
        self._queues = [topology.task_queue(self.user_endpoint)]

    def open(self) -> None:
        """Declare and consume, on queues of this endpoint's own."""
        self.broker.open()
        for exchange in topology.EXCHANGES:
            self.broker.declare_exchange(exchange)
        self.broker.declare_queue(self._queues[0], bind_to=(topology.TASKS, self._queues[0]))
        self._take(topology.RESULTS, topology.results_key(self.user_endpoint), self._on_result)
        self._take(topology.HEARTBEATS, topology.heartbeats_key(self.user_endpoint), self._on_beat)

    def close(self) -> None:
        """Leave nothing at the broker."""
        for name in self._queues:
            self.broker.cancel(name)
            self.broker.delete_queue(name)
        self.broker.close()

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        task_id: TaskId | None = None,
        **headers: Any,
    ) -> TaskId:
        """Put a call on the task queue."""
        return self.submit_buffer(
            pack_function(function) + pack_payload(args, {}), task_id=task_id, **headers
        )

    def submit_buffer(
        self, buffer: str, *, task_id: TaskId | None = None, **headers: Any
    ) -> TaskId:
        """Put a packed call on the task queue."""
        task_id = task_id or TaskId(new_id())
        body = encode(Task(task_id=task_id, task_buffer=buffer))
        known: dict[str, Any] = {
            topology.HEADER_TASK: task_id,
            topology.HEADER_FUNCTION: new_id(),
            topology.HEADER_RESOURCES: "null",
        }
        message = Outgoing(topology.TASKS, self._queues[0], body, headers=known | headers)
        self.broker.publish(message).result(WAIT_S)
        return task_id

    def await_results(
        self, task_ids: Iterable[TaskId], timeout_s: float = WAIT_S
    ) -> dict[TaskId, list[Result]]:
        """Wait until each of `task_ids` has a result; return all results that came."""
        missing = set(task_ids)
        came: dict[TaskId, list[Result]] = {}
        deadline = time.monotonic() + timeout_s
        while missing:
            try:
                result = self.results.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{len(missing)} tasks have no result") from None
            missing.discard(TaskId(result.task_id))
            came.setdefault(TaskId(result.task_id), []).append(result)
        return came

    def call(self, function: Callable[..., Any], *args: Any, timeout_s: float = WAIT_S) -> Any:
        """Run a call there and return what it returned."""
        task_id = self.submit(function, *args)
        result = self.await_results([task_id], timeout_s)[task_id][0]
        if result.error_details is not None:
            raise RuntimeError(result.data)
        return unpack_result(result.data)

    def await_heartbeat(
        self, wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float = WAIT_S
    ) -> Mapping[str, Any]:
        """Wait for a heartbeat of which `wanted` is true, and return its state."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                report = self.heartbeats.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError("no such heartbeat came") from None
            # A report of running tasks alone is no heartbeat.
            if report.seen and wanted(report.seen):
                return report.seen

    def credentials(self, url: str | None = None) -> dict[str, Any]:
        """Return what registration would answer."""
        user_endpoint = self.user_endpoint

        def info(exchange: str, key: str) -> dict[str, Any]:
            kwargs = {"exchange": exchange, "routing_key": key, "mandatory": True}
            base = {"connection_url": url or self.url, "exchange": exchange, "queue": key}
            return base | {"queue_publish_kwargs": kwargs}

        return {
            "endpoint_id": user_endpoint,
            "task_queue_info": info(topology.TASKS, topology.task_queue(user_endpoint)),
            "result_queue_info": info(topology.RESULTS, topology.results_key(user_endpoint)),
            "heartbeat_queue_info": info(
                topology.HEARTBEATS, topology.heartbeats_key(user_endpoint)
            ),
        }

    def _take(self, exchange: str, key: str, on_delivery: Callable[[Delivery], None]) -> None:
        name = f"test.{key}"
        self._queues.append(name)
        self.broker.declare_queue(name, bind_to=(exchange, key))
        self.broker.consume(name, on_delivery)

    def _on_result(self, delivery: Delivery) -> None:
        self.results.put(decode(delivery.body, Result))
        self.broker.ack(delivery)

    def _on_beat(self, delivery: Delivery) -> None:
        self.heartbeats.put(decode(delivery.body, StatusReport))
        self.broker.ack(delivery)


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the manager would send; a faulty one goes as it is."""
    try:
        return parse(dict(config)).model_dump(mode="json")
    except ConfigInvalidError:
        return dict(config)


class UserEndpointProcess:
    """The process, with its order written and its lease kept until `hold_breath`."""

    def __init__(
        self,
        hub: HubSide,
        state_dir: Path,
        config: Mapping[str, Any],
        *,
        lease_s: float = 30.0,
        url: str | None = None,
        environment: Mapping[str, str] | None = None,
        **order: Any,
    ) -> None:
        self.began = time.monotonic()
        self._lease_s = lease_s
        self._ended = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "chamberlain_endpoint.user.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=state_dir,
            env={
                "HOME": str(state_dir),
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "LANG": "C.UTF-8",
                **(environment or {}),
            },
            start_new_session=True,
        )
        line = {
            "v": 1,
            "endpoint": new_id(),
            "user_endpoint": hub.user_endpoint,
            "command": new_id(),
            "config": _checked(config),
            "credentials": hub.credentials(url),
            "state_dir": str(state_dir),
            "lease_s": lease_s,
            "identity": {"id": new_id(), "username": "alice@example.edu", "rule": "test"},
            **order,
        }
        self._write(json.dumps(line).encode() + b"\n")
        threading.Thread(target=self._breathe, name="breath", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(timeout_s)

    def hold_breath(self) -> None:
        """Write nothing more, and keep the pipe open."""
        self._ended.set()

    def close_stdin(self) -> None:
        """End the lease."""
        self._ended.set()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def stderr(self) -> str:
        """Return what it wrote to standard error; after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace")

    def fatal(self) -> dict[str, str]:
        """Return what its last line says was fatal; after its end."""
        last = self.stderr().rstrip().rpartition("\n")[2]
        return dict(json.loads(last)["fatal"])

    def end(self) -> None:
        """Kill it if it still runs, and close the pipes."""
        self._ended.set()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        for stream in (self.process.stdin, self.process.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _breathe(self) -> None:
        while not self._ended.wait(self._lease_s / 3):
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            self._ended.set()
