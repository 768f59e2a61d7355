"""After a user endpoint that may have left jobs comes a sweep, and only then its end is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_endpoint.launcher.runtime.memory import MemoryRuntime
from chamberlain_endpoint.launcher.runtime.port import Exit
from chamberlain_endpoint.launcher.runtime.sweep_records import SweepRecords
from chamberlain_endpoint.launcher.runtime.sweeping import SweepingRuntime
from chamberlain_endpoint.launcher.settings import PamSettings
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.limits import EXIT_JOBS_LEFT

UEP = "f1ed41e0-d609-59ae-abce-5d576e9d322a"
ALICE = Account("alice", 1001, 1001, (Group(1001, "alice"),), "", "/bin/sh", "/home/alice")
SPEC = LaunchSpec(
    user_endpoint=UEP,
    command="c",
    account=ALICE,
    arguments=("/usr/bin/python3", "-I", "-m", "chamberlain_endpoint.user.main"),
    environment={"HOME": "/home/alice"},
    state_dir=Path("/nowhere"),
    first_line=b'{"credentials":"secret"}\n',
    pam=PamSettings(enable=True),
    tells_tasks=True,
    may_have_jobs=True,
)


class Bench:
    """A sweeping runtime over one that is played."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sweeps.json"
        self.loop = Loop()
        self.told: list[Exit] = []
        self.noted: list[str] = []
        self.renew()

    def renew(self) -> None:
        """Play that the launcher was killed, with all that ran, and another one came."""
        self.inner = MemoryRuntime()
        note = lambda spec, outcome, why: self.noted.append(outcome)  # noqa: E731
        self.runtime = SweepingRuntime(self.loop, self.inner, SweepRecords(self.file), note)

    def open(self) -> None:
        self.runtime.open(self.told.append)

    @property
    def module(self) -> str:
        return self.inner.started[-1].arguments[3].rpartition(".")[2]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.open()
    return made


def test_one_that_left_in_order_is_not_swept(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.inner.end(UEP)
    assert [each.exit_code for each in bench.told] == [0]
    assert json.loads(bench.file.read_text()) == []


def test_one_without_a_scheduler_is_not_swept(bench: Bench) -> None:

    bench.runtime.start(replace(SPEC, may_have_jobs=False))
    bench.inner.end(UEP, signal=9)
    assert [each.signal for each in bench.told] == [9]
    assert not bench.file.exists()


def test_a_killed_one_is_swept_and_told_afterwards(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.inner.end(UEP, signal=9)
    assert bench.module == "sweep"
    assert bench.told == []
    assert bench.runtime.is_running(UEP)
    assert bench.runtime.pid_of(UEP) == 0
    bench.inner.end(UEP)
    assert [each.signal for each in bench.told] == [9]
    assert bench.noted == ["begun", "clean"]
    assert json.loads(bench.file.read_text()) == []


def test_a_sweep_is_the_account_without_its_secrets(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.inner.end(UEP, signal=9)
    sweep = bench.inner.started[-1]
    assert (sweep.account, sweep.arguments[-1]) == (ALICE, UEP)
    assert (sweep.first_line, sweep.pam.enable, sweep.tells_tasks) == (b"\n", False, False)
    assert "secret" not in bench.file.read_text()
    assert bench.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("code", "told"), [(0, 0), (1, EXIT_JOBS_LEFT)])
def test_jobs_that_it_could_not_end_are_told_when_the_sweep_cannot_either(
    bench: Bench, code: int, told: int
) -> None:
    bench.runtime.start(SPEC)
    bench.inner.end(UEP, exit_code=EXIT_JOBS_LEFT)
    bench.inner.end(UEP, exit_code=code)
    assert [each.exit_code for each in bench.told] == [told]


def test_the_next_launcher_sweeps_after_the_last(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.renew()
    bench.open()
    assert bench.module == "sweep"
    bench.inner.end(UEP)
    assert bench.told == []
    bench.renew()
    bench.open()
    assert bench.inner.started == []


def test_who_is_wanted_again_does_not_wait_for_the_sweep_of_the_last_launcher(
    bench: Bench,
) -> None:
    bench.runtime.start(SPEC)
    bench.renew()
    bench.open()
    bench.runtime.start(SPEC)
    assert bench.module == "main"
    assert bench.told == []
    bench.inner.end(UEP)
    assert [each.exit_code for each in bench.told] == [0]


def test_a_sweep_that_cannot_be_started_holds_nobody_up(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.inner.refuse_starts = "no processes left"
    bench.inner.end(UEP, signal=9)
    assert [each.signal for each in bench.told] == [9]
    assert bench.noted == ["begun", "jobs left"]
    # The next launcher tries again.
    assert [row["user_endpoint"] for row in json.loads(bench.file.read_text())] == [UEP]


def test_a_sweep_is_stopped_only_by_who_has_no_time_at_all(bench: Bench) -> None:
    bench.runtime.start(SPEC)
    bench.inner.end(UEP, signal=9)
    bench.runtime.stop(UEP, 7.0)
    assert not bench.inner.is_asked_to_stop(UEP)
    bench.runtime.stop(UEP, 0.0)
    assert [each.signal for each in bench.told] == [9]


def test_records_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "sweeps.json").write_text('[{"user_endpoint": 1')
    records = SweepRecords(tmp_path / "sweeps.json")
    records.open()
    assert records.all() == ()
    assert records.of(UEP) is None
