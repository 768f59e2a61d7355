"""A user endpoint in one process: real loop and ledger, the shipped fakes around them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_endpoint.engine.memory import ManualEngine
from chamberlain_endpoint.engine.port import Rules
from chamberlain_endpoint.user.claims import Claims
from chamberlain_endpoint.user.control import Control
from chamberlain_endpoint.user.heartbeat import Heartbeat
from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.ledger import Ledger
from chamberlain_endpoint.user.loop import Exit, Inbox, Loop, Parts, Settings, Stop
from chamberlain_endpoint.user.results import Results
from chamberlain_endpoint.user.work import Terms
from chamberlain_wire import topology
from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.broker.port import Delivery, Outgoing
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.ids import EndpointId, FunctionId, TaskId, new_id
from chamberlain_wire.messages import ControlOrder, QueueInfo, Result, StatusReport, Task

WAIT_S = 10.0
LOST = "TASK_LOST"


def info(exchange: str, key: str) -> QueueInfo:
    kwargs = {"exchange": exchange, "routing_key": key}
    return QueueInfo(
        connection_url="memory:", exchange=exchange, queue=key, queue_publish_kwargs=kwargs
    )


class Endpoint:
    """A user endpoint whose broker, engine and disk the test holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = EndpointId(new_id())
        self.server = MemoryServer()
        self.queue = topology.task_queue(self.id)
        self.control = topology.control_queue(self.id)
        self.hub = MemoryBroker(self.server)
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.heartbeats: queue.SimpleQueue[StatusReport] = queue.SimpleQueue()
        self.engine = ManualEngine()
        self.ended: queue.SimpleQueue[Exit] = queue.SimpleQueue()

    def open_hub(self) -> None:
        self.hub.open()
        self.hub.declare_queue(self.queue, bind_to=(topology.TASKS, self.queue))
        self.hub.declare_queue(self.control)
        self.hub.declare_queue("results", bind_to=(topology.RESULTS, "*.results"))
        self.hub.declare_queue("heartbeats", bind_to=(topology.HEARTBEATS, "*.heartbeats"))
        self.hub.consume("results", self.on_result)
        self.hub.consume("heartbeats", self.on_heartbeat)

    def on_result(self, delivery: Delivery) -> None:
        self.results.put(decode(delivery.body, Result))
        self.hub.ack(delivery)

    def on_heartbeat(self, delivery: Delivery) -> None:
        self.heartbeats.put(decode(delivery.body, StatusReport))
        self.hub.ack(delivery)

    def start(
        self,
        *,
        capacity: int = 1,
        retries: int = 0,
        allowed: frozenset[FunctionId] | None = None,
        period_s: float = 3600.0,
        idle: Idle | None = None,
        grace_s: float = 5.0,
        control: bool = False,
        told: int | None = None,
    ) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self.broker = MemoryBroker(self.server, on_link=self.inbox.put)
        self.engine = ManualEngine(capacity)
        self.engine.start(self.inbox.put)
        self.ledger = Ledger(self.folder / "ledger.db")
        self.ledger.open()
        settings = Settings(
            task_queue=self.queue,
            control_queue=self.control if control else "",
            terms=Terms(Rules(endpoint_id=self.id), retries=retries, allowed=allowed),
            idle=idle or Idle(0, 0),
            heartbeat_period_s=period_s,
            grace_s=grace_s,
        )
        out = info(topology.RESULTS, topology.results_key(self.id))
        beat = info(topology.HEARTBEATS, topology.heartbeats_key(self.id))
        parts = Parts(
            inbox=self.inbox,
            broker=self.broker,
            engine=self.engine,
            ledger=self.ledger,
            results=Results(self.broker, out, self.inbox.put),
            control=Control(self.broker, self.control if control else ""),
            heartbeat=Heartbeat(self.id, beat, period_s=period_s, identity={}, control=control),
            claims=Claims(told),
        )
        loop = Loop(settings, parts)
        self.thread = threading.Thread(target=self.run, args=(loop,))
        self.thread.start()
        self.broker.open()

    def run(self, loop: Loop) -> None:
        try:
            self.ended.put(loop.run())
        except AssertionError:
            return

    def submit(self, task_id: TaskId | None = None, buffer: str = "x", **headers: object) -> TaskId:
        task_id = task_id or TaskId(new_id())
        known: dict[str, object] = {
            topology.HEADER_TASK: task_id,
            topology.HEADER_FUNCTION: new_id(),
            topology.HEADER_RESOURCES: "null",
        }
        body = encode(Task(task_id=task_id, task_buffer=buffer))
        self.hub.publish(
            Outgoing(topology.TASKS, self.queue, body, headers={**known, **headers})
        ).result(WAIT_S)
        return task_id

    def order(self, *task_ids: TaskId, roll: str = "") -> None:
        """Tell what was cancelled, as the hub does."""
        body = encode(ControlOrder(cancel=list(task_ids), roll=roll))
        self.hub.publish(Outgoing("", self.control, body)).result(WAIT_S)

    def hello(self, *cancelled: TaskId) -> StatusReport:
        """Answer the next heartbeat that asks for the roll; return it."""
        report = self.heartbeat()
        while not report.roll:
            report = self.heartbeat()
        self.order(*cancelled, roll=report.roll)
        return report

    def result(self) -> Result:
        return self.results.get(timeout=WAIT_S)

    def heartbeat(self) -> StatusReport:
        return self.heartbeats.get(timeout=WAIT_S)

    def stop(self, stop: Stop | None = None) -> Exit:
        self.inbox.put(stop or Stop("test"))
        return self.await_end()

    def await_end(self) -> Exit:
        code = self.ended.get(timeout=WAIT_S)
        self.thread.join(WAIT_S)
        self.broker.close()
        self.ledger.close()
        return code

    def crash(self) -> None:
        """End as `kill -9` does: nothing more is written, published or acknowledged."""
        self.broker.close()
        # An event that the loop does not know ends it on the spot.
        self.inbox.put(object())  # type: ignore[arg-type]
        self.thread.join(WAIT_S)
        self.ledger.close()

    def unacknowledged(self) -> int:
        """How many tasks the broker would give to the next process."""
        return len(self.server.queues[self.queue].waiting)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    one = Endpoint(tmp_path)
    one.open_hub()
    yield one
    if getattr(one, "thread", None) is not None and one.thread.is_alive():
        one.crash()
    one.hub.close()
