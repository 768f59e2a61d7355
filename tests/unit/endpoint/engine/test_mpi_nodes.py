"""Who has which nodes of a block, and that nobody is passed, forgotten or kept waiting in vain."""

from __future__ import annotations

import pickle
import queue
from pathlib import Path
from typing import Any

import pytest
from parsl.serialize import deserialize

from chamberlain_endpoint.engine.mpi_nodes import Nodes, NodeScheduler
from chamberlain_endpoint.engine.port import Job, Rules
from chamberlain_endpoint.engine.slots import Recalled, make
from chamberlain_endpoint.engine.worker import pack_job
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result


def test_nodes_are_given_in_the_order_of_asking() -> None:
    nodes = Nodes(["a", "a", "b", "b"])
    assert nodes.names == ("a", "b")
    for task, count in ((1, 1), (2, 2), (3, 1)):
        nodes.ask(task, count)
    # The third could begin, and would keep the second waiting.
    assert nodes.begin() == [(1, ["a"])]
    nodes.end(1)
    assert nodes.begin() == [(2, ["b", "a"])]
    assert nodes.begin() == []
    nodes.end(2)
    nodes.end(2)
    assert nodes.begin() == [(3, ["b"])]


def test_who_stops_waiting_keeps_nobody_waiting() -> None:
    nodes = Nodes(["a", "b"])
    for task, count in ((1, 1), (2, 2), (3, 1)):
        nodes.ask(task, count)
    nodes.begin()
    assert nodes.drop(2)
    assert not nodes.drop(1)
    assert nodes.begin() == [(3, ["b"])]


class Block:
    """A scheduler of a block with two nodes, between two queues."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        nodefile = tmp_path / "nodes"
        nodefile.write_text("a\na\nb\nb\n")
        monkeypatch.delenv("SLURM_NODELIST", raising=False)
        monkeypatch.setenv("PBS_NODEFILE", str(nodefile))
        monkeypatch.setenv("CHAMBERLAIN_SLOTS", "")
        self.slots = make()
        self.tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.scheduler = NodeScheduler(self.tasks, self.results, self.slots)

    def put(self, number: int, nodes: int | None) -> TaskId:
        task_id = TaskId(new_id())
        rules = Rules(endpoint_id="one", working_dir=None)
        packed = pack_job(Job(task_id=task_id, buffer="", rules=rules))
        asked = {} if nodes is None else {"resource_spec": {"num_nodes": nodes}}
        self.scheduler.put_task({"task_id": number, "buffer": packed, "context": asked})
        return task_id

    def begun(self) -> tuple[int, str | None]:
        package = self.tasks.get_nowait()
        return package["task_id"], package["context"].get("resource_spec", {}).get("MPI_NODELIST")

    def end(self, number: int, **more: Any) -> None:
        self.results.put(pickle.dumps({"type": "result", "task_id": number, **more}))
        self.scheduler.get_result()


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Block:
    return Block(monkeypatch, tmp_path)


def test_a_task_waits_for_nodes_that_others_give_back(block: Block) -> None:
    block.put(1, 1)
    block.put(2, 2)
    assert block.begun() == (1, "a")
    assert block.tasks.empty()
    block.end(1, result=b"")
    assert block.begun() == (2, "b,a")
    # Its worker died: what it had started for the task is looked for, and there is none.
    block.end(2, exception=b"")
    block.put(3, 2)
    assert block.begun() == (3, "b,a")


def test_what_asks_for_no_nodes_runs_at_once(block: Block) -> None:
    block.put(1, 2)
    block.put(2, None)
    assert [block.begun(), block.begun()] == [(1, "a,b"), (2, None)]
    block.end(2, result=b"")
    assert block.tasks.empty()


def test_more_nodes_than_the_job_really_has_are_refused_with_both_sizes(block: Block) -> None:
    task_id = block.put(1, 3)
    told = pickle.loads(block.scheduler.get_result())
    result = decode(deserialize(told["result"]), Result)
    assert result.task_id == task_id
    assert "asks for 3 nodes" in result.data
    assert "endpoint has 2" in result.data
    block.put(2, 2)
    assert block.begun() == (2, "a,b")


def test_a_task_that_is_recalled_while_it_waits_ends_at_once(block: Block) -> None:
    block.put(1, 2)
    waiting = block.put(2, 2)
    block.put(3, 1)
    assert not block.slots.recall(waiting)
    told = pickle.loads(block.scheduler.get_result())
    assert told["task_id"] == 2
    with pytest.raises(Recalled):
        deserialize(told["exception"]).reraise()
    assert not block.slots.recall(waiting)
    block.begun()
    block.end(1, result=b"")
    assert block.begun() == (3, "a")
    assert block.results.empty()
