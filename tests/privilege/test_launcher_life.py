"""The real launcher as root, from its start to its end: what it rests on, and what it leaves."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.launcher_builders import ENDPOINT, UEP
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import (
    LauncherProcess,
    refusal,
    sockets_of,
    unix_sockets,
    username_of,
)
from tests.unit.endpoint.launcher.test_modules import forbidden_among

from chamberlain_endpoint.launcher.client import LauncherRefusedError
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_wire import audit_chain
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import new_id

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


def test_the_socket_is_for_the_managers_group_alone(
    running: LauncherProcess, other_account: Account
) -> None:
    for path, mode in ((running.socket, 0o660), (running.socket.parent, 0o750)):
        seen = path.stat()
        assert (seen.st_uid, seen.st_gid) == (0, other_account.gid)
        assert seen.st_mode & 0o777 == mode


def test_a_pattern_that_never_ends_holds_up_nobody(
    running: LauncherProcess, account: Account
) -> None:
    token = running.hub.token(username="slow:" + "a" * 60 + "@example.org")
    errors: list[LauncherRefusedError] = []

    def ask() -> None:
        errors.append(refusal(running, token))

    asker = threading.Thread(target=ask)
    asker.start()
    began = time.monotonic()
    running.client.hello()
    running.client.admit(running.hub.token(username=username_of(account)).encode())
    took_s = time.monotonic() - began
    assert asker.is_alive(), "the pattern was too quick to prove anything"
    assert took_s < 1.0
    asker.join(30)
    assert "nested repetition" in str(errors[0])


def test_an_edit_of_the_mapping_counts_at_once_and_a_bad_one_not_at_all(
    running: LauncherProcess, account: Account
) -> None:
    username = "someone@elsewhere.org"
    assert "none of 5 rules" in str(refusal(running, running.hub.token(username=username)))
    rule = {"source": "{username}", "match": username, "literal": True, "output": account.uname}
    running.write_mapping([rule])
    assert running.client.admit(running.hub.token(username=username).encode()).account == account
    running.mapping.chmod(0o666)
    running.mapping.write_text("[]")
    assert running.client.admit(running.hub.token(username=username).encode()).account == account
    told = [line for line in running.log() if line.get("event") == "mapping.refused"]
    assert len(told) == 1
    assert "chmod go-w" in told[0]["reason"]


def test_a_mapping_that_others_can_write_stops_the_start(launcher: LauncherProcess) -> None:
    launcher.mapping.chmod(0o664)
    for arguments in ((), ("--check",)):
        done = launcher.run(*arguments)
        assert done.returncode == 78
        assert f"{launcher.mapping} has mode 0664" in done.stderr
        assert f"chmod go-w {launcher.mapping}" in done.stderr


def test_a_good_configuration_passes_the_check_and_nothing_is_made(
    launcher: LauncherProcess,
) -> None:
    done = launcher.run("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert not launcher.accounts_dir.exists()


def test_all_faults_are_told_at_once(launcher: LauncherProcess) -> None:
    launcher.write_config(manager_user="chtestmissing", python="/nowhere/python")
    launcher.mapping.write_text("{}")
    done = launcher.run("--check")
    assert done.returncode == 78
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["reason"].split(":")[0] for event in events} == {
        "manager_user",
        "python",
        "identity_mapping",
    }


def test_a_stop_of_the_launcher_ends_everything(running: LauncherProcess, account: Account) -> None:
    for user_endpoint in (UEP, new_id()):
        token = running.hub.token(username=username_of(account), user_endpoint=user_endpoint)
        running.launch(token, user_endpoint)
    running.told(account.uid)
    assert running.end() == 0
    assert processes_of(account.uid) == []
    assert not running.socket.exists()


def test_a_killed_launcher_leaves_nothing_and_starts_again(
    launcher: LauncherProcess, account: Account
) -> None:
    launcher.behaviour = "breed"
    launcher.start()
    launcher.launch(launcher.hub.token(username=username_of(account)))
    launcher.told(account.uid)
    launcher.end(signal.SIGKILL)
    until(lambda: processes_of(account.uid) == [])
    launcher.start()
    assert launcher.client.list().running == ()


def test_one_that_will_not_end_holds_up_nobody(launcher: LauncherProcess, account: Account) -> None:
    launcher.behaviour = "stubborn"
    launcher.start()
    launcher.launch(launcher.hub.token(username=username_of(account)))
    launcher.told(account.uid)
    stopper = threading.Thread(
        target=launcher.client.stop, args=(UEP,), kwargs={"grace_s": 2.0, "why": "test"}
    )
    stopper.start()
    began = time.monotonic()
    launcher.client.hello()
    assert time.monotonic() - began < 1.0
    assert stopper.is_alive()
    with pytest.raises(LauncherRefusedError) as caught:
        launcher.launch(launcher.hub.token(username=username_of(account)))
    stopper.join(20)
    assert processes_of(account.uid) == []
    assert caught.value.word is ErrorCode.UNAVAILABLE


def test_every_decision_is_in_the_audit_log_and_its_chain_holds(
    running: LauncherProcess, account: Account
) -> None:
    token = running.hub.token(username=username_of(account))
    running.client.admit(token.encode())
    running.launch(token)
    refused = running.hub.token(username="mallory@elsewhere.org")
    with pytest.raises(LauncherRefusedError):
        running.launch(refused)
    running.client.stop(UEP, grace_s=5.0, why="a test")
    running.end()
    running.start()
    running.end()
    lines = [json.loads(line) for line in running.audit.read_text().splitlines()]
    assert audit_chain.verify(running.audit).lines == len(lines)
    assert [(line["action"], line["decision"]) for line in lines] == [
        ("start", "noted"),
        ("admit", "granted"),
        ("launch", "granted"),
        ("launch", "refused"),
        ("stop", "granted"),
        ("ended", "noted"),
        ("leave", "noted"),
        ("start", "noted"),
        ("leave", "noted"),
    ]
    granted = lines[2]
    assert granted["account"] == account.uname
    assert granted["uid"] == account.uid
    assert granted["source"] == "192.0.2.7"
    assert granted["username"] == username_of(account)
    assert "rule 1" in granted["reason"]
    for line in lines[4:6]:
        assert line["username"] == username_of(account)
        assert line["account"] == account.uname
    assert lines[5]["outcome"] in ("clean", "killed")
    assert running.audit.stat().st_mode & 0o777 == 0o600


def test_root_loads_no_network_code_and_opens_no_network_socket(
    running: LauncherProcess, account: Account
) -> None:
    running.launch(running.hub.token(username=username_of(account)))
    running.told(account.uid)
    assert running.process is not None
    held = sockets_of(running.process.pid)
    assert held
    assert held <= unix_sockets(running.process.pid)
    assert running.end() == 0
    loaded = set(json.loads(running.modules.read_text()))
    assert "chamberlain_endpoint.launcher.authority" in loaded
    assert forbidden_among(loaded) == set()


def test_two_launchers_never_share_a_state_folder(
    running: LauncherProcess, open_folder: Path
) -> None:
    done = running.run()
    assert done.returncode == 78
    assert "audit.log" in done.stderr
    assert running.client.hello().endpoint == ENDPOINT
    assert running.socket.exists()
