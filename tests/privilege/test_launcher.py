"""The real launcher as root: who comes in, who does not, and what is left behind."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.launcher_builders import ALICE, ENDPOINT, SYSTEM_PYTHON, UEP, Hub, make_assertion
from tests.privilege.conftest import GROUP, processes_of, until
from tests.privilege.launcher_process import LauncherProcess, refusal, username_of

from chamberlain_endpoint.launcher.client import LauncherRefusedError
from chamberlain_endpoint.launcher.protocol import Account, Ended
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import new_id

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


def test_it_greets_and_admits_without_starting(running: LauncherProcess, account: Account) -> None:
    assert running.client.hello().endpoint == ENDPOINT
    token = running.hub.token(username=username_of(account))
    for _ in range(2):
        admitted = running.client.admit(token.encode())
    assert admitted.account == account
    assert admitted.identity == ALICE
    assert "rule 1" in admitted.rule
    assert running.client.list().running == ()


def test_a_launch_runs_as_the_account_and_hands_over_on_standard_input(
    running: LauncherProcess, account: Account
) -> None:
    token = running.hub.token(username=username_of(account))
    assert running.launch(token) is False
    told = running.told(account.uid)
    assert told["uid"] == account.uid
    assert told["env"] | {"LC_CTYPE": ""} == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_CTYPE": "",
        "SITE": "test",
        "HOME": account.dir,
        "USER": account.uname,
        "LOGNAME": account.uname,
        "SHELL": "/usr/sbin/nologin",
    }
    first = told["first"]
    assert first["state_dir"] == str(running.accounts_dir / str(account.uid) / UEP)
    assert first["credentials"] == {"password": "hunter2"}
    assert first["identity"]["username"] == username_of(account)
    assert first["lease_s"] == 30.0
    (present,) = running.client.list().running
    assert (present.uid, present.command) == (account.uid, first["command"])


def test_no_secret_stands_where_others_can_read(running: LauncherProcess, account: Account) -> None:
    running.launch(running.hub.token(username=username_of(account)))
    running.told(account.uid)
    (present,) = running.client.list().running
    for pid in (*processes_of(account.uid), present.pid):
        for name in ("cmdline", "environ"):
            assert b"hunter2" not in Path(f"/proc/{pid}/{name}").read_bytes()
    for file in (running.audit, running.folder / "log"):
        assert "hunter2" not in file.read_text()


def test_a_statement_is_believed_once_also_after_a_restart(
    running: LauncherProcess, account: Account
) -> None:
    token = running.hub.token(username=username_of(account))
    running.launch(token)
    with pytest.raises(LauncherRefusedError, match="used before"):
        running.launch(token)
    assert running.end() == 0
    running.start()
    error = refusal(running, token)
    assert error.word is ErrorCode.COMMAND_REFUSED
    assert "used before" in str(error)


def test_one_that_runs_is_not_started_twice_and_the_statement_is_used_up(
    running: LauncherProcess, account: Account
) -> None:
    running.launch(running.hub.token(username=username_of(account)))
    again = running.hub.token(username=username_of(account))
    assert running.launch(again) is True
    assert len(running.client.list().running) == 1
    with pytest.raises(LauncherRefusedError, match="used before"):
        running.launch(again)


def test_an_end_is_told_to_who_watches_and_kept_for_who_asks(
    running: LauncherProcess, account: Account
) -> None:
    seen: list[Ended] = []
    ready = threading.Event()
    watcher = threading.Thread(target=running.client.watch, args=(seen.append, ready.set))
    watcher.start()
    assert ready.wait(10)
    running.launch(running.hub.token(username=username_of(account)))
    running.told(account.uid)
    asker = type(running.client)(running.socket)
    asker.stop(UEP, grace_s=5.0, why="test")
    assert processes_of(account.uid) == []
    until(lambda: bool(seen))
    assert list(asker.list().ended) == seen
    assert (seen[0].user_endpoint, seen[0].exit_code) == (UEP, 0)
    running.client.close()
    watcher.join(10)
    assert not watcher.is_alive()


@pytest.mark.parametrize(
    ("username", "word", "detail"),
    [
        ("mallory@elsewhere.org", ErrorCode.IDENTITY_NOT_MAPPED, "none of 5 rules matches"),
        ("chtestmissing@example.edu", ErrorCode.IDENTITY_NOT_MAPPED, "no account of this host"),
        ("as-root@example.org", ErrorCode.ACCOUNT_REFUSED, "is root"),
        ("as-web@example.org", ErrorCode.ACCOUNT_REFUSED, "below min_uid"),
        ("as-nobody@example.org", ErrorCode.ACCOUNT_REFUSED, "denied_accounts"),
        ("chtestx@example.edu\n", ErrorCode.IDENTITY_NOT_MAPPED, "none of 5 rules matches"),
    ],
)
def test_who_may_not_come_in_is_told_why(
    running: LauncherProcess, username: str, word: ErrorCode, detail: str
) -> None:
    error = refusal(running, running.hub.token(username=username))
    assert error.word is word
    assert detail in str(error)
    assert error.public


def test_the_managers_own_account_is_nobodys(
    running: LauncherProcess, other_account: Account
) -> None:
    error = refusal(running, running.hub.token(username=username_of(other_account)))
    assert error.word is ErrorCode.ACCOUNT_REFUSED
    assert "endpoint's own account" in str(error)


def test_an_unmapped_caller_hears_the_identity_and_username(running: LauncherProcess) -> None:
    error = refusal(running, running.hub.token(username="mallory@elsewhere.org"))
    assert error.public == (
        "Identity failed to map to a local user name: "
        f"effective identity {ALICE}, username mallory@elsewhere.org."
    )


def test_a_denied_group_keeps_its_members_out(launcher: LauncherProcess, account: Account) -> None:
    launcher.write_config(f'denied_groups = ["{GROUP}"]')
    launcher.start()
    error = refusal(launcher, launcher.hub.token(username=username_of(account)))
    assert (error.word, "denied_groups" in str(error)) == (ErrorCode.ACCOUNT_REFUSED, True)


def test_an_account_gets_no_more_than_its_share(
    launcher: LauncherProcess, account: Account
) -> None:
    launcher.write_config("max_user_endpoints_per_account = 1")
    launcher.start()
    launcher.launch(launcher.hub.token(username=username_of(account)))
    second = new_id()
    token = launcher.hub.token(username=username_of(account), user_endpoint=second)
    with pytest.raises(LauncherRefusedError, match="1 of 1"):
        launcher.launch(token, second)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"endpoint": new_id()}, "is for endpoint"),
        ({"issued_at": lambda: time.time() - 600}, "expired"),
        ({"issued_at": lambda: time.time() + 600}, "in the future"),
        ({"life_s": 86400.0}, "longer than the limit"),
        ({"user_endpoint": new_id()}, "launch asks for"),
        ({"user_endpoint": "../../etc"}, "no canonical UUID"),
    ],
)
def test_a_statement_that_is_not_for_here_and_now_starts_nothing(
    running: LauncherProcess, account: Account, changes: dict[str, object], detail: str
) -> None:
    # Times are counted from the test, not from when the tests were collected.
    now = {name: value() if callable(value) else value for name, value in changes.items()}
    error = refusal(running, running.hub.token(username=username_of(account), **now))
    assert error.word is ErrorCode.COMMAND_REFUSED
    assert detail in str(error)


def test_a_statement_of_another_hub_starts_nothing(
    running: LauncherProcess, account: Account
) -> None:
    error = refusal(running, Hub().sign(make_assertion(username=username_of(account))))
    assert "signed by no key" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 10 * 1024 * 1024) + b"x" * 4096,
        struct.pack(">I", 9) + b"not JSON!",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 2) + b"{}",
    ],
)
def test_what_is_no_request_is_hung_up_on(running: LauncherProcess, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(running.socket))
        connection.sendall(data)
        # A reset says that it left bytes unread, which is the point.
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert running.client.hello().endpoint == ENDPOINT


def test_only_the_manager_and_root_may_speak(
    running: LauncherProcess, account: Account, other_account: Account
) -> None:
    # Open the way to the socket: what is left is what the kernel says of the peer.
    running.socket.parent.chmod(0o755)
    running.socket.chmod(0o666)
    assert heard_by(running.socket, account) == b""
    assert b'"ok":true' in heard_by(running.socket, other_account)


def heard_by(path: Path, account: Account) -> bytes:
    program = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(10)\n"
        f"s.connect({str(path)!r})\n"
        'body = b\'{"id": 1, "kind": "hello"}\'\n'
        "try:\n"
        "    s.sendall(struct.pack('>I', len(body)) + body); print(s.recv(1000))\n"
        "except (BrokenPipeError, ConnectionResetError): print(b'')\n"
    )
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", program],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        capture_output=True,
        check=True,
        text=True,
    )
    return bytes(eval(done.stdout))
