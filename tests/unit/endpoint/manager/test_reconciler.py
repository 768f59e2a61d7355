"""Several user endpoints at once, each one in order; what fails is tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.endpoint.manager.test_records import wish

from chamberlain_endpoint.launcher.client import LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import Ended
from chamberlain_endpoint.manager.ends import unknown_end
from chamberlain_endpoint.manager.reconciler import Reconciler
from chamberlain_endpoint.manager.records import Records, Wish
from chamberlain_wire.ids import EndpointId, new_id

WAIT_S = 10.0


class Played:
    """Steps that note what was asked, and do what the test says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.play: Callable[[str], None] = lambda name: None
        self.changed = threading.Condition()

    def step(self, wish: Wish) -> Wish | None:
        self._note(f"step {wish.user_endpoint}")
        return None

    def note_end(self, ended: Ended) -> None:
        self._note(f"end {ended.user_endpoint}")

    def wait(self, met: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(met, WAIT_S), self.asked

    def _note(self, what: str) -> None:
        with self.changed:
            self.asked.append(what)
            self.changed.notify_all()
        self.play(what)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.records = Records(folder / "records.db")
        self.records.open()
        self.steps = Played()
        self.fatal: list[BaseException] = []
        self.reconciler = Reconciler(
            self.steps,  # type: ignore[arg-type]
            self.records,
            on_fatal=self.fatal.append,
        )

    def wish(self) -> EndpointId:
        wanted = wish(EndpointId(new_id()))
        assert self.records.wish(wanted, remember_until=1.0)
        return wanted.user_endpoint

    def close(self) -> None:
        self.reconciler.close()
        self.records.close()


@pytest.fixture
def bench(tmp_path: Path) -> object:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_it_begins_with_what_was_left_to_do(bench: Bench) -> None:
    user_endpoint = bench.wish()
    bench.reconciler.open()
    bench.steps.wait(lambda: bench.steps.asked == [f"step {user_endpoint}"])


def test_a_slow_one_holds_up_nobody_else(bench: Bench) -> None:
    slow, quick = bench.wish(), bench.wish()
    release = threading.Event()

    def play(what: str) -> None:
        if what == f"step {slow}":
            assert release.wait(WAIT_S)

    bench.steps.play = play
    bench.reconciler.open()
    bench.steps.wait(lambda: f"step {quick}" in bench.steps.asked)
    release.set()


def test_steps_of_one_user_endpoint_never_overlap(bench: Bench) -> None:
    user_endpoint = bench.wish()
    inside = threading.Semaphore(1)
    overlapped: list[str] = []

    def play(what: str) -> None:
        if not inside.acquire(blocking=False):
            overlapped.append(what)
            return
        bench.reconciler.poke(user_endpoint)
        inside.release()

    bench.steps.play = play
    bench.reconciler.open()
    bench.steps.wait(lambda: len(bench.steps.asked) > 50)
    bench.steps.play = lambda what: None
    assert overlapped == []


def test_an_end_is_noted_after_the_step_under_way(bench: Bench) -> None:
    user_endpoint = bench.wish()

    def play(what: str) -> None:
        bench.steps.play = lambda what: None
        bench.reconciler.note_end(unknown_end(user_endpoint, new_id(), 0.0))

    bench.steps.play = play
    bench.reconciler.open()
    bench.steps.wait(lambda: len(bench.steps.asked) == 3)
    step, end = f"step {user_endpoint}", f"end {user_endpoint}"
    assert bench.steps.asked == [step, end, step]


@pytest.mark.parametrize("error", [LauncherUnreachableError("away"), ValueError("a defect")])
def test_a_step_that_failed_is_tried_again(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.wish()

    def fail_twice(what: str) -> None:
        if len(bench.steps.asked) < 3:
            raise error

    bench.steps.play = fail_twice
    bench.reconciler.open()
    with caplog.at_level(logging.WARNING):
        bench.steps.wait(lambda: len(bench.steps.asked) == 3)
    assert bench.fatal == []


def test_without_records_it_ends(bench: Bench) -> None:
    user_endpoint = bench.wish()
    bench.records.close()
    bench.reconciler.poke(user_endpoint)
    bench.records.open()
    failed = threading.Event()
    bench.reconciler = Reconciler(
        bench.steps,  # type: ignore[arg-type]
        bench.records,
        on_fatal=lambda error: failed.set(),
    )
    bench.reconciler.open()
    bench.steps.wait(lambda: bench.steps.asked)
    bench.records.close()
    bench.reconciler.poke(user_endpoint)
    assert failed.wait(WAIT_S)
