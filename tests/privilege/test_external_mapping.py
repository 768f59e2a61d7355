"""Mapping programs, really run: as whom, with what, for how long, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import ALICE, ENDPOINT, make_assertion
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import RULES, LauncherProcess

from chamberlain_endpoint.identity.program import ProgramFailedError
from chamberlain_endpoint.launcher.client import LauncherRefusedError
from chamberlain_endpoint.launcher.decision import ForkingDecider, Rules, Verdict
from chamberlain_endpoint.launcher.external import MAX_OUTPUT_BYTES, ProgramRunner
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.mapping_file import MappingFile
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.protocol import Account, Admitted
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.errors import ErrorCode

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

ROOT = frozenset({0})


def script(folder: Path, text: str, mode: int = 0o755) -> Path:
    path = folder / "map"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def runner(account: Account, timeout_s: float = 5.0) -> ProgramRunner:
    return ProgramRunner(account, ENDPOINT, timeout_s, ROOT)


def test_it_runs_as_its_account_with_nothing_of_roots(
    open_folder: Path, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    with (open_folder / "held").open("wb"):
        path = script(open_folder, "cat; id -u; id -G; env; pwd; echo $@; ls /proc/self/fd | wc -l")
        said = runner(account)((str(path), "one"), b"question\n").decode()
    lines = said.splitlines()
    assert lines[:2] == ["question", str(account.uid)]
    assert {int(gid) for gid in lines[2].split()} == {group.gid for group in account.groups}
    assert "hunter2" not in said
    assert "/" in lines
    assert f"one -c {ENDPOINT} -s {ENDPOINT} -a" in lines
    assert int(lines[-1]) <= 4  # in, out, err, and the folder that is listed


def test_one_that_takes_too_long_is_killed_with_all_that_it_started(
    open_folder: Path, account: Account
) -> None:
    path = script(open_folder, "(setsid sleep 1000 &) ; sleep 1000 & sleep 1000")
    begin = time.monotonic()
    with pytest.raises(ProgramFailedError, match="in time"):
        runner(account, timeout_s=0.5)((str(path),), b"")
    assert time.monotonic() - begin < 3.0
    until(lambda: processes_of(account.uid) == [])


def test_nothing_stays_behind_one_that_answered(open_folder: Path, account: Account) -> None:
    path = script(open_folder, "sleep 1000 & echo good")
    begin = time.monotonic()
    assert runner(account)((str(path),), b"") == b"good\n"
    assert time.monotonic() - begin < 3.0
    until(lambda: processes_of(account.uid) == [])


def test_one_that_says_too_much_is_stopped(open_folder: Path, account: Account) -> None:
    path = script(open_folder, "exec cat /dev/zero")
    with pytest.raises(ProgramFailedError, match=f"more than {MAX_OUTPUT_BYTES}"):
        runner(account)((str(path),), b"")
    path = script(open_folder, f"exec head -c {MAX_OUTPUT_BYTES} /dev/zero")
    assert len(runner(account)((str(path),), b"")) == MAX_OUTPUT_BYTES


def test_complaints_without_end_do_no_harm(open_folder: Path, account: Account) -> None:
    path = script(open_folder, "head -c 20000000 /dev/zero >&2; echo good")
    assert runner(account)((str(path),), b"") == b"good\n"


def test_one_that_reads_nothing_is_not_waited_for(open_folder: Path, account: Account) -> None:
    path = script(open_folder, "exec <&-; echo good")
    assert runner(account)((str(path),), b"x" * 1_000_000) == b"good\n"


@pytest.mark.parametrize("code", [1, 64, 125])
def test_an_exit_code_means_no_answer(open_folder: Path, account: Account, code: int) -> None:
    path = script(open_folder, f"echo said; exit {code}")
    assert runner(account)((str(path),), b"") == b""


@pytest.mark.parametrize("text", ["exit 126", "no-such-program-anywhere"])
def test_one_that_cannot_be_run_fails(open_folder: Path, account: Account, text: str) -> None:
    with pytest.raises(ProgramFailedError):
        runner(account)((str(script(open_folder, text)),), b"")


def test_one_that_is_absent_or_no_program_fails(open_folder: Path, account: Account) -> None:
    with pytest.raises(ProgramFailedError):
        runner(account)((str(open_folder / "absent"),), b"")
    with pytest.raises(ProgramFailedError):
        runner(account)((str(script(open_folder, "", mode=0o644)),), b"")


def test_one_that_others_could_have_written_is_not_run(open_folder: Path, account: Account) -> None:
    path = script(open_folder, "echo good", mode=0o777)
    with pytest.raises(ProgramFailedError, match="others may write"):
        runner(account)((str(path),), b"")
    path.chmod(0o755)
    argument = open_folder / "map.py"
    argument.touch()
    os.chown(argument, account.uid, account.gid)
    with pytest.raises(ProgramFailedError, match="must belong to root"):
        runner(account)((str(path), str(argument)), b"")


def decided(mapper: Any, deadline_s: float = 20.0) -> Verdict:
    loop, verdicts = Loop(), list[Verdict]()

    def take(verdict: Verdict) -> None:
        verdicts.append(verdict)
        loop.stop()

    loop.call_later(deadline_s, loop.stop)
    policy = PolicySettings(min_uid=1)
    ForkingDecider(loop).decide(Rules(mapper, policy, Denied()), make_assertion(), take)
    loop.run()
    loop.close()
    (verdict,) = verdicts
    return verdict


def test_a_decision_is_taken_by_a_program_and_a_slow_one_stops_it(
    open_folder: Path, account: Account, other_account: Account
) -> None:
    result = {"id": ALICE, "output": account.uname}
    said = json.dumps({"DATA_TYPE": "identity_mapping_output#1.0.0", "result": [result]})
    program = script(open_folder, f"cat > /dev/null; echo '{said}'")
    mapping = open_folder / "mapping.json"
    document = {"DATA_TYPE": "external_identity_mapping#1.0.0", "command": [str(program)]}
    mapping.write_text(json.dumps([document]))
    mapping.chmod(0o644)
    file = MappingFile(mapping, ROOT, lambda _: None, runner(other_account, timeout_s=1.0))
    file.open()
    verdict = decided(file.mapper())
    assert isinstance(verdict, Admitted)
    assert verdict.account == account
    script(open_folder, "while :; do :; done")
    verdict = decided(file.mapper())
    assert not isinstance(verdict, Admitted)
    assert "in time" in str(verdict)
    until(lambda: processes_of(other_account.uid) == [])


@pytest.fixture
def launcher(open_folder: Path, other_account: Account) -> Iterator[LauncherProcess]:
    made = LauncherProcess(open_folder, other_account)
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


def test_the_check_prints_what_is_doubtful_and_stays_good(launcher: LauncherProcess) -> None:
    launcher.write_mapping([{"source": "{username}", "match": "(.*)@x.edu", "output": "{0}"}])
    done = launcher.run("--check")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.startswith("warning: ") for line in lines] == [True, True, False]
    assert "any character" in lines[0]
    assert "becomes root, nobody" in lines[1] or "becomes root" in lines[1]


def test_the_greeting_tells_that_an_edit_is_not_in_force(launcher: LauncherProcess) -> None:
    launcher.start()
    assert launcher.client.hello().mapping_state == "in force"
    launcher.mapping.write_text("[")
    assert "not JSON" in launcher.client.hello().mapping_state
    events = [line["event"] for line in launcher.log()]
    assert events.count("mapping.refused") == 1
    launcher.write_mapping(RULES)
    assert launcher.client.hello().mapping_state == "in force"


@pytest.mark.parametrize(
    ("name", "fault"),
    [("root", "neither root nor"), ("", "[mapping] external_account"), ("chtest-no", "no account")],
)
def test_a_program_without_a_good_account_stops_the_start(
    launcher: LauncherProcess, open_folder: Path, name: str, fault: str
) -> None:
    document = {
        "DATA_TYPE": "external_identity_mapping#1.0.0",
        "command": [str(script(open_folder, "exit 1"))],
    }
    launcher.mapping.write_text(json.dumps([document]))
    launcher.write_config(f'[mapping]\nexternal_account = "{name}"' if name else "")
    done = launcher.run("--check")
    assert done.returncode == 78
    assert fault in done.stderr


def test_the_managers_account_runs_no_programs_and_nobody_gets_the_one_that_does(
    launcher: LauncherProcess, account: Account, other_account: Account
) -> None:
    launcher.write_config(f'[mapping]\nexternal_account = "{other_account.uname}"')
    assert "neither root nor the manager" in launcher.run("--check").stderr
    launcher.write_config(f'[mapping]\nexternal_account = "{account.uname}"')
    launcher.start()
    token = launcher.hub.token(username=f"{account.uname}@example.edu")
    with pytest.raises(LauncherRefusedError) as caught:
        launcher.launch(token)
    assert caught.value.word is ErrorCode.ACCOUNT_REFUSED
