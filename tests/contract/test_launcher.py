"""What the manager may rely on of a launcher: the one in memory, and the real one.

The real one serves on a real socket, with real statements and policy; only its processes are
played, because what they do is the runtime's contract.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.manager_builders import ALICE, Signer, account

from chamberlain_endpoint.identity.assertion import AssertionDesk, UsedIds
from chamberlain_endpoint.identity.mapper import OwnerMapper
from chamberlain_endpoint.launcher.audit import AuditLog
from chamberlain_endpoint.launcher.authority import Authority, Means
from chamberlain_endpoint.launcher.client import (
    LauncherClient,
    LauncherRefusedError,
    LauncherUnreachableError,
)
from chamberlain_endpoint.launcher.config import LauncherSettings, Mode, PolicySettings
from chamberlain_endpoint.launcher.decision import InlineDecider, Rules
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.protocol import Ended, Launch
from chamberlain_endpoint.launcher.runtime.memory import MemoryRuntime
from chamberlain_endpoint.launcher.server import Server
from chamberlain_endpoint.manager.launcher_port import Launcher, MemoryLauncher
from chamberlain_wire.assertion import sign
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, new_id

WAIT_S = 10.0


class Stage(Protocol):
    """A launcher, and a hand on what runs behind it."""

    launcher: Launcher

    def end(self, user_endpoint: str, exit_code: int) -> None:
        """Let it end."""

    def close(self) -> None:
        """Take the launcher away."""


class MemoryStage:
    def __init__(self, hub: Signer, folder: Path) -> None:
        del folder
        self.memory = MemoryLauncher(hub.endpoint, account())
        self.memory.clock = time.time
        self.launcher: Launcher = self.memory

    def end(self, user_endpoint: str, exit_code: int) -> None:
        self.memory.end(user_endpoint, exit_code=exit_code)

    def close(self) -> None:
        self.memory.leave()


class RealStage:
    def __init__(self, hub: Signer, folder: Path) -> None:
        # Some account that is everywhere and is not root.
        name = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "nobody"
        settings = LauncherSettings(
            mode=Mode.SINGLE,
            endpoint_id=hub.endpoint,
            socket=folder / "launcher.sock",
            state_dir=folder,
            accounts_dir=folder / "accounts",
            hub_keys=(hub.public.public_bytes_raw(),),
            owner_identity=ALICE,
            policy=PolicySettings(min_uid=1, denied_accounts=()),
        )
        self.loop = Loop()
        self.runtime = MemoryRuntime()
        self.stack = contextlib.ExitStack()
        self.calls: list[Callable[[], None]] = []
        self.heard, self.told = os.pipe()
        self.loop.on_readable(self.heard, self._call)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(settings, name), daemon=True)
        self.thread.start()
        assert self.ready.wait(WAIT_S)
        self.launcher: Launcher = LauncherClient(settings.socket)

    def end(self, user_endpoint: str, exit_code: int) -> None:
        self._do(lambda: self.runtime.end(user_endpoint, exit_code=exit_code))

    def close(self) -> None:
        if self.thread.is_alive():
            self._do(self.loop.stop)
            self.thread.join(WAIT_S)

    def _do(self, call: Callable[[], None]) -> None:
        self.calls.append(call)
        os.write(self.told, b"x")

    def _call(self) -> None:
        os.read(self.heard, 1)
        self.calls.pop(0)()

    def _serve(self, settings: LauncherSettings, name: str) -> None:
        with contextlib.ExitStack() as stack:
            # In this thread: its database may be used by one thread only.
            used = UsedIds(settings.state_dir / "used.db")
            used.open()
            stack.callback(used.close)
            audit = AuditLog(settings.state_dir / "audit.log")
            audit.open()
            stack.callback(audit.close)
            rules = Rules(OwnerMapper(ALICE, name), settings.policy, Denied())
            means = Means(
                desk=AssertionDesk(lambda: settings.hub_keys, settings.endpoint_id, used),
                rules=lambda: rules,
                decider=InlineDecider(),
                runtime=self.runtime,
                audit=audit,
            )
            authority = Authority(settings, "0", means)
            authority.open()
            stack.callback(self.loop.close)
            peers = frozenset({os.getuid()})
            server = Server(self.loop, settings.socket, authority, peers, -1)
            server.open()
            stack.callback(server.close)
            self.ready.set()
            self.loop.run()
        os.close(self.heard)
        os.close(self.told)


@pytest.fixture
def hub() -> Signer:
    return Signer(EndpointId(new_id()))


@pytest.fixture(params=[MemoryStage, RealStage], ids=["memory", "real"])
def stage(request: pytest.FixtureRequest, hub: Signer, tmp_path: Path) -> Iterator[Stage]:
    stage: Stage = request.param(hub, tmp_path)
    yield stage
    stage.launcher.close()
    stage.close()


def launch(hub: Signer, user_endpoint: str, command: str = "") -> Launch:
    assertion = hub.assertion(user_endpoint, now=time.time(), id=command or new_id())
    return Launch(
        assertion=sign(assertion, hub.key).decode(),
        user_endpoint=user_endpoint,
        config="{}",
        credentials="{}",
        environment={},
    )


class Watching:
    """A watch in a thread, and what it heard."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.heard: list[Ended] = []
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self.is_ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.is_ready.wait(WAIT_S)

    def wait(self) -> Ended:
        with self.changed:
            assert self.changed.wait_for(lambda: self.heard, WAIT_S)
            return self.heard[0]

    def _run(self) -> None:
        try:
            self.launcher.watch(self._hear, self.is_ready.set)
        except LauncherUnreachableError as error:
            self.error = error

    def _hear(self, ended: Ended) -> None:
        with self.changed:
            self.heard.append(ended)
            self.changed.notify_all()


def test_it_says_whom_it_serves(stage: Stage, hub: Signer) -> None:
    assert stage.launcher.hello().endpoint == hub.endpoint


def test_an_admission_uses_nothing_up(stage: Stage, hub: Signer) -> None:
    wanted = launch(hub, new_id())
    for _ in range(2):
        admitted = stage.launcher.admit(wanted.assertion.encode())
        assert admitted.account.uid > 0
    assert not stage.launcher.launch(wanted).already


def test_a_launch_uses_the_statement_up(stage: Stage, hub: Signer) -> None:
    wanted = launch(hub, new_id())
    stage.launcher.launch(wanted)
    with pytest.raises(LauncherRefusedError) as caught:
        stage.launcher.launch(wanted)
    assert caught.value.word is ErrorCode.COMMAND_REFUSED


def test_a_second_launch_joins_the_first_and_is_used_up(stage: Stage, hub: Signer) -> None:
    user_endpoint, command = new_id(), new_id()
    stage.launcher.launch(launch(hub, user_endpoint, command))
    again = launch(hub, user_endpoint)
    assert stage.launcher.launch(again).already
    with pytest.raises(LauncherRefusedError):
        stage.launcher.launch(again)
    (running,) = stage.launcher.list().running
    assert running.command == command


def test_it_lists_what_runs_and_what_ended(stage: Stage, hub: Signer) -> None:
    first, second, command = new_id(), new_id(), new_id()
    stage.launcher.launch(launch(hub, first, command))
    stage.launcher.launch(launch(hub, second))
    watching = Watching(stage.launcher)
    stage.end(first, 78)
    watching.wait()
    listing = stage.launcher.list()
    assert [running.user_endpoint for running in listing.running] == [second]
    (ended,) = listing.ended
    assert (ended.user_endpoint, ended.command, ended.exit_code) == (first, command, 78)
    assert abs(ended.at - time.time()) < 60


def test_a_watch_hears_of_ends_with_the_command_that_started_them(
    stage: Stage, hub: Signer
) -> None:
    user_endpoint, command = new_id(), new_id()
    watching = Watching(stage.launcher)
    stage.launcher.launch(launch(hub, user_endpoint, command))
    stage.launcher.launch(launch(hub, user_endpoint))
    stage.end(user_endpoint, 0)
    ended = watching.wait()
    assert (ended.user_endpoint, ended.command, ended.exit_code) == (user_endpoint, command, 0)


def test_a_launcher_that_goes_away_ends_the_watch(stage: Stage) -> None:
    watching = Watching(stage.launcher)
    stage.close()
    watching.thread.join(WAIT_S)
    assert watching.error is not None
    with pytest.raises(LauncherUnreachableError):
        stage.launcher.hello()


def test_a_closed_watch_ends_without_an_error(stage: Stage) -> None:
    watching = Watching(stage.launcher)
    stage.launcher.close()
    watching.thread.join(WAIT_S)
    assert not watching.thread.is_alive()
    assert watching.error is None
