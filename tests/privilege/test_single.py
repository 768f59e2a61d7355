"""The single-account form: the same program, as an ordinary user, for its owner alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import ALICE, ENDPOINT, STAND_IN, SYSTEM_PYTHON, UEP, Hub
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import PROGRAM

from chamberlain_endpoint.launcher.client import LauncherClient, LauncherRefusedError
from chamberlain_endpoint.launcher.protocol import Account, Launch
from chamberlain_wire.errors import ErrorCode
from devtools.programs import Programs

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


class Single:
    """A launcher that runs as `account`."""

    def __init__(self, folder: Path, account: Account, programs: Programs) -> None:
        self.folder = folder
        self.account = account
        self.hub = Hub()
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        os.chown(self.home, account.uid, account.gid)
        self.socket = self.home / "run" / "launcher.sock"
        self.config = self.home / "launcher.toml"
        lines = {
            "mode": "single",
            "endpoint_id": ENDPOINT,
            "owner_identity": ALICE,
            "socket": str(self.socket),
            "state_dir": str(self.home / "state"),
            "accounts_dir": str(self.home / "accounts"),
        }
        text = "\n".join(f'{name} = "{value}"' for name, value in lines.items())
        self.config.write_text(f'{text}\nhub_keys = ["{self.hub.public_text}"]\n')
        os.chown(self.config, account.uid, account.gid)
        self.python = programs.python
        self.client = LauncherClient(self.socket)

    def start(self, behaviour: str, *, uid: int | None = None) -> subprocess.Popen[bytes]:
        stand_in = [str(SYSTEM_PYTHON), "-I", str(self.folder / STAND_IN.name), behaviour, ""]
        told = str(self.home / "modules.json")
        program = [self.python, "-I", "-c", PROGRAM, json.dumps(stand_in), told]
        return subprocess.Popen(
            [*program, "--config", str(self.config)],
            stderr=subprocess.PIPE,
            user=self.account.uid if uid is None else uid,
            group=self.account.gid,
            extra_groups=[],
        )

    def launch(self, token: str) -> None:
        self.client.launch(Launch(token, UEP, "{}", "{}", {}))

    def told(self) -> dict[str, object]:
        path = self.home / "accounts" / str(self.account.uid) / "told.json"
        until(path.exists)
        document: dict[str, object] = json.loads(path.read_text())
        return document


@pytest.fixture
def single(open_folder: Path, account: Account, programs: Programs) -> Single:
    return Single(open_folder, account, programs)


@pytest.fixture
def running(single: Single) -> Iterator[Single]:
    process = single.start("breed")
    until(single.socket.exists)
    yield single
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    assert processes_of(single.account.uid) == []


def test_the_owner_comes_in_and_nothing_is_left_at_the_end(running: Single) -> None:
    assert running.client.hello().owner_identity == ALICE
    running.launch(running.hub.token(identity=ALICE, username="me@example.edu"))
    assert running.told() == {"bred": True}
    (present,) = running.client.list().running
    assert present.uid == running.account.uid
    running.client.stop(UEP, grace_s=5.0, why="test")
    # The launcher itself is all that the account still runs.
    assert len(processes_of(running.account.uid)) == 1


def test_a_stop_of_the_launcher_sweeps_the_tree(running: Single) -> None:
    running.launch(running.hub.token(identity=ALICE))
    assert running.told() == {"bred": True}
    assert len(processes_of(running.account.uid)) >= 6


def test_nobody_else_comes_in(running: Single) -> None:
    token = running.hub.token(identity=UEP, username="bob@example.edu")
    with pytest.raises(LauncherRefusedError) as caught:
        running.launch(token)
    assert caught.value.word is ErrorCode.IDENTITY_NOT_MAPPED
    assert "serves its owner alone" in caught.value.public


@pytest.mark.parametrize(
    ("mode", "as_root", "fault"),
    [("single", True, "root must not run their functions"), ("multi", False, "needs root")],
)
def test_the_form_must_fit_who_runs_it(
    single: Single, mode: str, as_root: bool, fault: str
) -> None:
    account = single.account
    if mode == "multi":
        text = single.config.read_text().replace(f'owner_identity = "{ALICE}"', "")
        text = text.replace('mode = "single"', 'mode = "multi"')
        mapping = single.home / "mapping.json"
        mapping.write_text("[]")
        single.config.write_text(
            f'manager_user = "{account.uname}"\nidentity_mapping = "{mapping}"\n{text}'
        )
    if as_root:
        os.chown(single.home, 0, 0)
        os.chown(single.config, 0, 0)
    process = single.start("serve", uid=0 if as_root else None)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 78
    assert fault in errors.decode()
