"""Round trips at the broker: a task straight into a user endpoint's queue, its result out.

Neither SDK nor hub has a part in it. The hub sees the results too, does not know the tasks, and
drops them.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from bench.peer.client import nothing, pause_s
from chamberlain_wire import topology
from chamberlain_wire.broker.port import Delivery, Outgoing
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.codec import decode, encode
from chamberlain_wire.ids import EndpointId, TaskId, new_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import Result, Task
from chamberlain_wire.serialize import pack_function, pack_payload
from devtools.say import CannotGoOnError

_NOT_COUNTED = 2


class NoResultError(CannotGoOnError):
    """A task had no result, or it failed; the message says which."""


def trips_s(url: str, user_endpoint: str, count: int, limit_s: float) -> list[float]:
    """Return the seconds of `count` round trips, none before the one before is back.

    Args:
        url: the hub's own address of the broker.
        limit_s: the longest wait for one result.

    Raises:
        NoResultError: a result did not come, or tells of a failure.
    """
    came: queue.SimpleQueue[tuple[float, Result]] = queue.SimpleQueue()
    broker = RabbitBroker(Secret(url), name="bench")
    inbox = f"bench.{new_id()}"
    buffer = pack_function(nothing) + pack_payload((1,), {})
    broker.open()
    try:
        key = topology.results_key(EndpointId(user_endpoint))
        broker.declare_queue(inbox, bind_to=(topology.RESULTS, key))
        broker.consume(inbox, _taker(broker, came))
        times = []
        for number in range(_NOT_COUNTED + count):
            time.sleep(pause_s(number))
            times.append(_trip_s(broker, came, EndpointId(user_endpoint), buffer, limit_s))
        broker.cancel(inbox)
        broker.delete_queue(inbox)
    finally:
        broker.close()
    return times[_NOT_COUNTED:]


def _taker(
    broker: RabbitBroker, came: queue.SimpleQueue[tuple[float, Result]]
) -> Callable[[Delivery], None]:
    def take(delivery: Delivery) -> None:
        came.put((time.perf_counter(), decode(delivery.body, Result)))
        broker.ack(delivery)

    return take


def _trip_s(
    broker: RabbitBroker,
    came: queue.SimpleQueue[tuple[float, Result]],
    user_endpoint: EndpointId,
    buffer: str,
    limit_s: float,
) -> float:
    task_id = TaskId(new_id())
    headers: dict[str, str | int] = {
        topology.HEADER_TASK: task_id,
        topology.HEADER_FUNCTION: new_id(),
        topology.HEADER_RESOURCES: "null",
    }
    body = encode(Task(task_id=task_id, task_buffer=buffer))
    key = topology.task_queue(user_endpoint)
    started = time.perf_counter()
    broker.publish(Outgoing(topology.TASKS, key, body, headers=headers)).result(limit_s)
    while True:
        try:
            arrived, result = came.get(timeout=limit_s)
        except queue.Empty:
            raise NoResultError(f"{user_endpoint} sent no result for {limit_s:g} s.") from None
        if result.task_id != task_id:
            continue  # of a task that came before us
        if result.error_details is not None:
            raise NoResultError(f"{user_endpoint} failed a task: {result.data}")
        return arrived - started
