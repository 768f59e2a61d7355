"""What every runtime promises, held against the fake and against real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import container_host as containers
from tests.launcher_builders import UEP, make_spec, own_account

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime
from chamberlain_endpoint.launcher.runtime.memory import MemoryRuntime
from chamberlain_endpoint.launcher.runtime.port import (
    TAIL_BYTES,
    Exit,
    News,
    Runtime,
    StartFailedError,
    TasksSilenced,
    TasksTold,
)
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.claims import BURST, RATE_PER_S, Claim, What

DEADLINE_S = 20.0
TASK = "74747474-7474-7474-7474-747474747474"


class Bench:
    """A runtime, the ends that it told of, and processes that behave as asked."""

    runtime: Runtime
    hangs_up = True
    """Whether who sends too many records finds its pipe closed; else what it sends is dropped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exits: list[Exit] = []
        self.account = own_account()
        self.news: list[News] = []

    def start(self, behaviour: str, user_endpoint: str = UEP, **changes: object) -> LaunchSpec:
        spec = make_spec(
            self.folder, behaviour, user_endpoint=user_endpoint, account=self.account, **changes
        )
        self.runtime.start(spec)
        return spec

    def until_serving(self, user_endpoint: str = UEP) -> None:
        """Wait until the process is far enough to hear signals."""

    def until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until `is_so()`."""

    def kept_bytes(self) -> int:
        """Return how much of what the process wrote is kept now."""
        return 0


class MemoryBench(Bench):
    """Plays the processes by what they were asked to be."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.runtime = self.memory = MemoryRuntime()
        self.runtime.open(self.exits.append, self.news.append)

    def until(self, is_so: Callable[[], bool]) -> None:
        for spec in self.memory.started:
            if self.memory.is_running(spec.user_endpoint):
                self._play(spec.user_endpoint, spec.arguments[-2])
        assert is_so()

    def _play(self, name: str, behaviour: str) -> None:
        if behaviour == "leave":
            self.memory.write(name, b"bye\n")
            self.memory.end(name, exit_code=3)
        elif behaviour == "chatty":
            self.memory.write(name, b"x" * 1_000_000 + b"last words\n")
            self.memory.end(name)
        elif behaviour == "babble":
            self.memory.tell(TasksSilenced(name, "a record of version 104, known is 1"))
        elif behaviour == "flood_of_records":
            claim = Claim(What.RECEIVED, TASK)
            self.memory.tell(TasksTold(name, (claim,) * BURST))
            self.memory.tell(TasksSilenced(name, "it sends more than"))
            self.memory.end(name, signal=13)
        elif behaviour == "killed":
            self.memory.end(name, signal=11)
        elif self.memory.is_asked_to_stop(name):
            if behaviour == "serve":
                self.memory.end(name)
            else:
                self.memory.stop(name, 0)


class ProcessBench(Bench):
    """Real processes; time passes by turning the loop."""

    def __init__(self, folder: Path, *, may_own_space: bool) -> None:
        super().__init__(folder)
        self.loop = Loop()
        self.runtime = ProcessRuntime(
            self.loop, folder, is_multi=False, may_own_space=may_own_space
        )
        self.runtime.open(self.exits.append, self.news.append)
        assert self.runtime.is_own_space == (may_own_space and os.geteuid() == 0)

    def until(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < until, "it did not happen in time"
            self.loop.call_later(0.05, lambda: None)
            self.loop.turn()

    def kept_bytes(self) -> int:
        processes = self.runtime._processes  # type: ignore[attr-defined]
        return sum(map(len, processes[UEP].tails.values()))

    def until_serving(self, user_endpoint: str = UEP) -> None:
        processes = self.runtime._processes  # type: ignore[attr-defined]
        process = processes[user_endpoint]
        self.until(lambda: b"serving" in process.tails[process.stderr])


class ContainerBench(Bench):
    """Real containers of the host's engine; time passes by turning the loop."""

    # Both outputs of a container come over one stream, and the other one is still wanted.
    hangs_up = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.account = containers.account()
        self.loop = Loop()
        self.runtime = ContainerRuntime(self.loop, containers.settings(folder))
        self.runtime.open(self.exits.append, self.news.append)
        self.until(lambda: self.runtime._is_known)  # type: ignore[attr-defined]

    def until(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < until, "it did not happen in time"
            self.loop.call_later(0.05, lambda: None)
            self.loop.turn()

    def kept_bytes(self) -> int:
        kept = self.runtime._containers  # type: ignore[attr-defined]
        return len(kept[UEP].stream.tail)

    def until_serving(self, user_endpoint: str = UEP) -> None:
        kept = self.runtime._containers  # type: ignore[attr-defined]
        self.until(lambda: b"serving" in kept[user_endpoint].stream.tail)


@pytest.fixture(
    params=[
        pytest.param("memory"),
        pytest.param("swept", marks=pytest.mark.slow),
        pytest.param("own space", marks=[pytest.mark.slow, pytest.mark.needs_root]),
        pytest.param("container", marks=[pytest.mark.slow, pytest.mark.needs_podman]),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench
    if request.param == "memory":
        made = MemoryBench(tmp_path)
    elif request.param == "container":
        made = ContainerBench(tmp_path)
    else:
        made = ProcessBench(tmp_path, may_own_space=request.param == "own space")
    yield made
    made.runtime.close()
    if isinstance(made, ProcessBench | ContainerBench):
        made.loop.close()


def test_an_end_is_told_once_with_its_exit_code_and_last_words(bench: Bench) -> None:
    bench.start("leave")
    bench.until(lambda: bool(bench.exits))
    assert bench.exits == [Exit(UEP, 3, None, b"bye\n")]
    assert not bench.runtime.is_running(UEP)


def test_a_violent_end_names_its_signal(bench: Bench) -> None:
    bench.start("killed")
    bench.until(lambda: bool(bench.exits))
    assert (bench.exits[0].exit_code, bench.exits[0].signal) == (None, 11)


def test_a_flood_is_drained_and_only_its_tail_is_kept(bench: Bench) -> None:
    bench.start("chatty")
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].exit_code == 0
    assert len(bench.exits[0].tail) == TAIL_BYTES
    assert bench.exits[0].tail.endswith(b"x\nlast words\n") or bench.exits[0].tail.endswith(
        b"xlast words\n"
    )


def test_a_flood_does_not_fill_the_launchers_memory(bench: Bench) -> None:
    bench.start("flood_and_serve")
    bench.until_serving()
    assert bench.kept_bytes() <= 2 * TAIL_BYTES


def test_a_stop_lets_it_leave_by_itself(bench: Bench) -> None:
    bench.start("serve")
    bench.until_serving()
    bench.runtime.stop(UEP, 10.0)
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].exit_code == 0


def test_a_stop_before_it_could_hear_is_not_lost(bench: Bench) -> None:
    bench.start("serve")
    bench.runtime.stop(UEP, 10.0)
    bench.until(lambda: bool(bench.exits))
    assert not bench.runtime.is_running(UEP)
    assert bench.exits[0].signal != 9, "it was only killed after its grace"


def test_what_does_not_leave_in_time_is_killed(bench: Bench) -> None:
    bench.start("stubborn")
    bench.until_serving()
    bench.runtime.stop(UEP, 0.2)
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].signal == 9


def test_a_second_stop_shortens_the_grace(bench: Bench) -> None:
    bench.start("stubborn")
    bench.until_serving()
    bench.runtime.stop(UEP, 3600.0)
    bench.runtime.stop(UEP, 0.0)
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].signal == 9


def test_stopping_what_does_not_run_is_no_error(bench: Bench) -> None:
    bench.runtime.stop(UEP, 0.0)
    assert bench.exits == []


def test_two_of_one_id_never_run(bench: Bench) -> None:
    spec = bench.start("serve")
    with pytest.raises(ValueError, match="runs already"):
        bench.runtime.start(spec)


def test_the_same_id_may_start_again_after_its_end(bench: Bench) -> None:
    bench.start("leave")
    bench.until(lambda: len(bench.exits) == 1)
    bench.start("leave")
    bench.until(lambda: len(bench.exits) == 2)


def test_one_that_reads_nothing_holds_up_nobody(bench: Bench) -> None:
    other = "00000000-0000-4000-8000-00000000beef"
    bench.start("stubborn", first_line=b"x" * 500_000 + b"\n")
    bench.start("leave", user_endpoint=other)
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].user_endpoint == other
    assert bench.runtime.is_running(UEP)


def test_what_is_no_record_ends_the_channel_and_nothing_else(bench: Bench) -> None:
    bench.start("babble", tells_tasks=True)
    bench.until(lambda: bool(bench.news))
    (silenced,) = bench.news
    assert isinstance(silenced, TasksSilenced)
    assert "version" in silenced.reason
    assert bench.runtime.is_running(UEP)


def test_where_nobody_asks_for_records_output_is_nothing(bench: Bench) -> None:
    bench.start("chatty")
    bench.until(lambda: bool(bench.exits))
    assert bench.news == []


def test_a_flood_of_records_is_cut_off(bench: Bench) -> None:
    began = time.monotonic()
    bench.start("flood_of_records", tells_tasks=True)
    bench.until(lambda: any(isinstance(one, TasksSilenced) for one in bench.news))
    if not bench.hangs_up:
        bench.runtime.stop(UEP, 0.0)
    bench.until(lambda: bool(bench.exits))
    *told, last = bench.news
    assert isinstance(last, TasksSilenced)
    assert last.reason.startswith("it sends more than")
    claims = [claim for one in told if isinstance(one, TasksTold) for claim in one.claims]
    assert (claims[0].what, claims[0].task) == (What.RECEIVED, TASK)
    took_s = time.monotonic() - began
    assert len(claims) <= BURST + took_s * RATE_PER_S
    # Of a stop without grace, either signal may be the first that it meets.
    assert bench.exits[0].signal in ({13} if bench.hangs_up else {9, 15})


def test_a_refused_start_leaves_nothing_running(tmp_path: Path) -> None:
    runtime = MemoryRuntime()
    runtime.refuse_starts = "no more processes"
    with pytest.raises(StartFailedError):
        runtime.start(make_spec(tmp_path, "leave", account=own_account()))
    assert not runtime.is_running(UEP)
