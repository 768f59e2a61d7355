"""Each user endpoint runs in what was chosen for it, and is found where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.launcher_builders import UEP, Hub, make_account, make_settings, make_spec

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime import choosing, container_records
from chamberlain_endpoint.launcher.runtime.choosing import ChoosingRuntime
from chamberlain_endpoint.launcher.runtime.faults import EngineDownError, EngineError
from chamberlain_endpoint.launcher.runtime.memory import MemoryRuntime
from chamberlain_endpoint.launcher.runtime.port import Exit, StartFailedError
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.runtime.sweep_records import SweepRecords
from chamberlain_endpoint.launcher.settings import RuntimeKind, RuntimeSettings
from chamberlain_endpoint.launcher.spec import LaunchSpec

PROCESS, CONTAINER = RuntimeKind.PROCESS, RuntimeKind.CONTAINER
ALICE = make_account()
SITE = RuntimeSettings(kind=CONTAINER, more_kinds=(PROCESS,))


class PlayedContainers(MemoryRuntime):
    """Containers that are not there while `is_down`; those that run stay for the next launcher."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.instead: Callable[[LaunchSpec, EngineError], bool] = lambda *_: False

    def start(self, spec: LaunchSpec) -> None:
        if not self.is_down:
            super().start(spec)
            return
        error = EngineDownError("nobody answers")
        if not self.instead(spec, error):
            raise error

    def stays(self, user_endpoint: str) -> bool:
        return self.is_running(user_endpoint)


class Stage:
    def __init__(self, settings: RuntimeSettings, *, has_processes: bool = True) -> None:
        self.processes, self.containers = MemoryRuntime(), PlayedContainers()
        self.runtime = ChoosingRuntime(
            settings, self.processes if has_processes else None, self.containers
        )
        self.exits: list[Exit] = []
        self.runtime.open(self.exits.append)

    def start(self, kind: RuntimeKind, user_endpoint: str = UEP) -> None:
        spec = make_spec(
            Path("/nowhere"), "serve", account=ALICE, user_endpoint=user_endpoint, runtime=kind
        )
        self.runtime.start(spec)


@pytest.mark.parametrize("kind", [PROCESS, CONTAINER])
def test_it_runs_in_its_own_kind_and_is_ended_there(kind: RuntimeKind) -> None:
    stage = Stage(SITE)
    stage.start(kind)
    chosen = stage.processes if kind is PROCESS else stage.containers
    assert chosen.is_running(UEP)
    assert stage.runtime.pid_of(UEP) == 1
    assert stage.runtime.stays(UEP) is (kind is CONTAINER)
    stage.runtime.stop(UEP, 0.0)
    assert [one.signal for one in stage.exits] == [9]
    assert not stage.runtime.is_running(UEP)


def test_one_id_never_runs_in_both() -> None:
    stage = Stage(SITE)
    stage.start(CONTAINER)
    with pytest.raises(ValueError, match="runs already"):
        stage.start(PROCESS)


def test_without_a_container_the_site_decides() -> None:
    strict, lenient = Stage(SITE), Stage(replace(SITE, if_unavailable=PROCESS))
    strict.containers.is_down = lenient.containers.is_down = True
    with pytest.raises(StartFailedError, match="nobody answers"):
        strict.start(CONTAINER)
    assert not strict.runtime.is_running(UEP)
    lenient.start(CONTAINER)
    assert lenient.processes.is_running(UEP)
    assert not lenient.runtime.stays(UEP)
    lenient.processes.end(UEP, exit_code=3)
    assert [one.exit_code for one in lenient.exits] == [3]


def test_whose_entry_lists_no_process_gets_none() -> None:
    own = (("alice", (CONTAINER,)),)
    stage = Stage(replace(SITE, if_unavailable=PROCESS, account_kinds=own))
    stage.containers.is_down = True
    with pytest.raises(StartFailedError):
        stage.start(CONTAINER)
    assert stage.processes.started == []


def test_a_process_that_cannot_start_becomes_no_container() -> None:
    stage = Stage(SITE)
    stage.processes.refuse_starts = "no more processes"
    with pytest.raises(StartFailedError):
        stage.start(PROCESS)
    assert stage.containers.started == []


def test_where_processes_are_gone_from_the_settings_their_sweeps_run_in_containers() -> None:
    stage = Stage(replace(SITE, more_kinds=()), has_processes=False)
    stage.start(PROCESS)
    assert stage.containers.is_running(UEP)


def test_a_sweep_runs_in_what_its_user_endpoint_ran_in(tmp_path: Path) -> None:
    records = SweepRecords(tmp_path / "sweeps.json")
    spec = make_spec(tmp_path, "serve", account=ALICE, runtime=CONTAINER, image="big")
    records.add(replace(spec, may_have_jobs=True))
    again = SweepRecords(tmp_path / "sweeps.json")
    again.open()
    (found,) = again.all()
    assert (found.runtime, found.image) == (CONTAINER, "big")


def test_containers_on_record_are_gone_on_with_whatever_the_settings_say_now(
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path, Hub())
    loop = Loop()
    assert isinstance(choosing.usual(loop, settings), ProcessRuntime)
    path = container_records.path_in(settings.state_dir)
    path.parent.mkdir(parents=True)
    row = {"generation": "ab", "user_endpoint": UEP, "command": "c", "account": "alice"}
    path.write_text(json.dumps([{**row, "uid": 1, "gid": 1, "groups": [1], "started_at": 1.0}]))
    assert isinstance(choosing.usual(loop, settings), ChoosingRuntime)
    loop.close()
