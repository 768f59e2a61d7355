"""Engines under test, started once for all tests that leave them whole."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.choose import make_engine
from chamberlain_endpoint.engine.port import (
    CapacityChanged,
    Engine,
    Finished,
    Job,
    Lost,
    Report,
    Returned,
    Rules,
)
from chamberlain_endpoint.rendered import settled
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import (
    pack_function,
    pack_payload,
    unpack_result,
)

WAIT_S = 30.0
CONFIGS: dict[str, dict[str, Any]] = {
    "threads": {"type": "ThreadPoolEngine", "max_workers": 2},
    "processes": {"type": "ProcessPoolEngine", "max_workers": 2},
    "htex": {"type": "GlobusComputeEngine", "max_workers_per_node": 2},
}
ALL = pytest.mark.parametrize("running", list(CONFIGS), indirect=True)
OWN_PROCESSES = pytest.mark.parametrize("running", ["processes", "htex"], indirect=True)


@dataclass
class Running:
    """An engine at work, and what it reported."""

    engine: Engine
    folder: Path
    reports: queue.SimpleQueue[Report] = field(default_factory=queue.SimpleQueue)

    def await_capacity(self, least: int = 1) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.engine.capacity < least:
            report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            assert isinstance(report, CapacityChanged), report

    def submit(self, function: Callable[..., Any], *args: Any, **rules: Any) -> TaskId:
        return self.submit_buffer(pack_function(function) + pack_payload(args, {}), **rules)

    def submit_buffer(self, buffer: str, **rules: Any) -> TaskId:
        task_id = TaskId(new_id())
        all_rules = {"endpoint_id": "the endpoint", "working_dir": str(self.folder / "work")}
        self.engine.submit(Job(task_id=task_id, buffer=buffer, rules=Rules(**(all_rules | rules))))
        return task_id

    def next_report(self) -> Finished | Lost | Returned:
        deadline = time.monotonic() + WAIT_S
        while True:
            report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(report, Finished | Lost | Returned):
                return report
            assert isinstance(report, CapacityChanged), report

    def next_end(self) -> Finished | Lost:
        deadline = time.monotonic() + WAIT_S
        while True:
            report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(report, Finished | Lost):
                return report
            assert isinstance(report, CapacityChanged), report

    def result(self) -> Result:
        end = self.next_end()
        assert isinstance(end, Finished), end
        return decode(end.body, Result)

    def call(self, function: Callable[..., Any], *args: Any, **rules: Any) -> Any:
        self.await_capacity()
        task_id = self.submit(function, *args, **rules)
        result = self.result()
        assert result.task_id == task_id
        assert result.error_details is None, result.data
        return unpack_result(result.data)

    def fail(self, function: Callable[..., Any], *args: Any) -> Result:
        self.await_capacity()
        self.submit(function, *args)
        result = self.result()
        assert result.error_details is not None
        return result


def start(name: str, folder: Path, **changes: Any) -> Running:
    checked = rendered.parse({"engine": {**CONFIGS[name], **changes}})
    config = settled.read(checked.model_dump(mode="json"))
    one = Running(make_engine(config.engine, run_dir=folder / "engine"), folder)
    one.engine.start(one.reports.put)
    return one


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Engines that tests share; a test that breaks one makes its own."""
    made: dict[str, Running] = {}
    yield made
    for one in made.values():
        one.engine.stop()


@pytest.fixture
def running(
    request: pytest.FixtureRequest,
    engines: dict[str, Running],
    tmp_path_factory: pytest.TempPathFactory,
) -> Running:
    if request.param not in engines:
        engines[request.param] = start(request.param, tmp_path_factory.mktemp(request.param))
    return engines[request.param]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Make engines of the test's own; all are stopped, and nothing of them may be left."""
    made: list[Running] = []
    before = descendants()

    def make(name: str, **changes: Any) -> Running:
        made.append(start(name, tmp_path / str(len(made)), **changes))
        return made[-1]

    yield make
    for one in made:
        one.engine.stop()
    await_none_of(descendants() - before)


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def await_none_of(processes: set[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=5.0)
    assert [one.cmdline() for one in alive] == []
