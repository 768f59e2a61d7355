"""What root gives away and what stays behind. The kernel is the judge."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import STAND_IN, SYSTEM_PYTHON, UEP, make_spec
from tests.privilege.conftest import processes_of, until

from chamberlain_endpoint.launcher import privileges
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.runtime.port import Exit, News
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.settings import PamSettings

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


class Bench:
    """A process runtime that becomes accounts."""

    def __init__(self, folder: Path, account: Account, *, may_own_space: bool = True) -> None:
        self.folder = folder
        self.account = account
        self.accounts_dir = folder / "accounts"
        self.accounts_dir.mkdir()
        self.accounts_dir.chmod(0o711)
        self.told = folder / "accounts" / str(account.uid) / "told.json"
        self.exits: list[Exit] = []
        self.news: list[News] = []
        self.loop = Loop()
        self.runtime = ProcessRuntime(
            self.loop, self.accounts_dir, is_multi=True, may_own_space=may_own_space
        )
        self.runtime.open(self.exits.append, self.news.append)

    def start(self, behaviour: str, **more: Any) -> int:
        self.runtime.start(
            make_spec(
                self.accounts_dir,
                behaviour,
                account=self.account,
                told=self.told,
                python=SYSTEM_PYTHON,
                script=self.folder / STAND_IN.name,
                **more,
            )
        )
        return self.runtime.pid_of(UEP)

    def run_real_one(self, first_line: bytes, pam: PamSettings) -> int:
        """Start the user endpoint's own program."""
        spec = make_spec(self.accounts_dir, "", account=self.account, first_line=first_line)
        program = (sys.executable, "-I", "-m", "chamberlain_endpoint.user.main")
        self.runtime.start(replace(spec, arguments=program, pam=pam))
        return self.runtime.pid_of(spec.user_endpoint)

    def until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < end, f"it did not happen in time; {self.exits}"
            self.loop.call_later(0.02, lambda: None)
            self.loop.turn()

    def what_it_told(self) -> dict[str, Any]:
        self.until(lambda: self.told.exists() or bool(self.exits))
        assert self.told.exists(), self.exits
        document: dict[str, Any] = json.loads(self.told.read_text())
        return document

    def close(self) -> None:
        self.runtime.close()
        self.loop.close()


@pytest.fixture(params=["own space", "swept"])
def bench(request: pytest.FixtureRequest, open_folder: Path, account: Account) -> Iterator[Bench]:
    made = Bench(open_folder, account, may_own_space=request.param == "own space")
    yield made
    made.close()


def test_the_process_is_the_account_and_nothing_more(bench: Bench) -> None:
    bench.start("describe")
    told = bench.what_it_told()
    account = bench.account
    assert told["uids"] == [account.uid] * 3
    assert told["gids"] == [account.gid] * 3
    assert told["groups"] == sorted(group.gid for group in account.groups)
    assert len(told["groups"]) == 2
    assert told["attempts"] == ["refused"] * 3
    assert told["status"].pop("NoNewPrivs") == "1"
    assert {int(mask, 16) for mask in told["status"].values()} == {0}


def test_the_process_starts_from_a_clean_slate(bench: Bench) -> None:
    os.environ["CHAMBERLAIN_SECRET"] = "hunter2"
    bench.start("describe")
    told = bench.what_it_told()
    del os.environ["CHAMBERLAIN_SECRET"]
    assert told["environment"].keys() <= {"PATH", "HOME", "LANG", "LC_CTYPE"}
    assert "hunter2" not in json.dumps(told["arguments"])
    assert told["first"] == {"password": "hunter2"}
    assert told["umask"] == 0o077
    assert told["session"]
    assert told["core"] == [0, 0]
    assert int(told["masked"], 16) == 0
    # SIGPIPE and SIGXFSZ are Python's own.
    assert int(told["ignored"], 16) & ~(1 << 12 | 1 << 24) == 0
    # Standard streams, and the one that lists the folder.
    assert len(told["descriptors"]) == 4
    assert told["stderr_opens"]


def test_the_working_folder_is_the_accounts_own(bench: Bench) -> None:
    bench.start("describe")
    told = bench.what_it_told()
    for folder in (bench.accounts_dir / str(bench.account.uid), Path(told["cwd"])):
        seen = folder.stat()
        assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (bench.account.uid, 0o700)
    assert told["cwd"] == str(bench.accounts_dir / str(bench.account.uid) / UEP)


def test_a_process_space_shows_its_own_processes_only(open_folder: Path, account: Account) -> None:
    bench = Bench(open_folder, account)
    bench.start("describe")
    assert bench.what_it_told()["processes"] == [1, 2]
    bench.close()


def test_a_stop_leaves_no_grandchild_however_it_hid(bench: Bench) -> None:
    bench.start("breed")
    bench.what_it_told()
    assert len(processes_of(bench.account.uid)) >= 4
    bench.runtime.stop(UEP, 5.0)
    bench.until(lambda: bool(bench.exits))
    assert processes_of(bench.account.uid) == []
    assert bench.exits[0].exit_code == 0


def test_one_that_leaves_by_itself_leaves_no_grandchild(bench: Bench) -> None:
    bench.start("breed_and_leave")
    bench.until(lambda: bool(bench.exits))
    assert bench.told.exists()
    assert processes_of(bench.account.uid) == []


def test_the_account_cannot_kill_the_keeper(bench: Bench) -> None:
    keeper = bench.start("serve")
    account = bench.account
    attempt = subprocess.run(
        [SYSTEM_PYTHON, "-c", f"import os; os.kill({keeper}, 9)"],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        capture_output=True,
        check=False,
        text=True,
    )
    assert "PermissionError" in attempt.stderr
    assert bench.runtime.is_running(UEP)


@pytest.mark.parametrize("own_space", [True, False])
def test_a_killed_launcher_leaves_nothing(
    open_folder: Path, account: Account, own_space: bool
) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from chamberlain_endpoint.launcher.accounts import look_up\n"
        "from tests.privilege.test_process_runtime import Bench\n"
        f"bench = Bench(Path({str(open_folder)!r}), look_up({account.uname!r}),"
        f" may_own_space={own_space})\n"
        "bench.start('breed'); bench.what_it_told()\n"
        "print('ready', flush=True)\n"
        "bench.loop.run()\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"ready\n"
    assert len(processes_of(account.uid)) >= 4
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    until(lambda: processes_of(account.uid) == [])


def test_a_link_in_the_accounts_folder_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    before = victim.stat()
    folder = bench.accounts_dir / str(bench.account.uid)
    folder.mkdir(mode=0o700)
    os.chown(folder, bench.account.uid, bench.account.gid)
    (folder / UEP).symlink_to(victim)
    bench.start("describe")
    bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].failure
    assert bench.exits[0].exit_code == 70
    assert victim.stat() == before


def test_a_program_that_cannot_be_run_is_told_as_a_failure(bench: Bench) -> None:
    spec = make_spec(
        bench.accounts_dir, "serve", account=bench.account, python=Path("/nowhere/python")
    )
    bench.runtime.start(spec)
    bench.until(lambda: bool(bench.exits))
    assert "/nowhere/python" in bench.exits[0].failure


def test_nobody_becomes_root() -> None:
    with pytest.raises(privileges.PrivilegeError):
        privileges.become(0, 0, (0,))
