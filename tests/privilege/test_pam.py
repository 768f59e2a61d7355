"""A PAM session around a user endpoint: the host's own libpam and its modules."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import UEP
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import LauncherProcess, username_of
from tests.privilege.pam_service import PERMIT, SESSION, Witness, service
from tests.privilege.test_process_runtime import Bench

from chamberlain_endpoint.cli.pam_service import ensure
from chamberlain_endpoint.launcher.protocol import Account, Ended
from chamberlain_endpoint.launcher.runtime.port import SessionOpened
from chamberlain_endpoint.launcher.settings import PamSettings
from chamberlain_endpoint.manager.ends import explain_end
from chamberlain_wire.errors import ErrorCode

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


@pytest.fixture(params=["own space", "swept"])
def bench(request: pytest.FixtureRequest, open_folder: Path, account: Account) -> Iterator[Bench]:
    made = Bench(open_folder, account, may_own_space=request.param == "own space")
    yield made
    made.close()


@pytest.fixture
def one_bench(open_folder: Path, account: Account) -> Iterator[Bench]:
    made = Bench(open_folder, account)
    yield made
    made.close()


def write_limits(folder: Path, account: Account) -> Path:
    path = folder / "limits.conf"
    path.write_text(f"{account.uname} soft nofile 301\n{account.uname} hard nofile 402\n")
    return path


def test_the_session_spans_the_whole_life(bench: Bench) -> None:
    witness = Witness(bench.folder, bench.account.uid)
    with service(PERMIT, witness.line) as pam:
        bench.start("breed", pam=pam)
        bench.what_it_told()
        assert bench.news == [SessionOpened(UEP)]
        opened = ["open_session", bench.account.uname, pam.service, "chamberlain", "0"]
        assert witness.seen() == [opened]
        assert len(processes_of(bench.account.uid)) >= 4
        bench.runtime.stop(UEP, 5.0)
        bench.until(lambda: bool(bench.exits))
    # When it was closed, no process of the account was left.
    assert witness.seen() == [opened, ["close_session", *opened[1:]]]
    assert (bench.exits[0].session, bench.exits[0].left) == ("closed", 0)
    assert processes_of(bench.account.uid) == []


def test_an_end_by_force_closes_the_session_too(bench: Bench) -> None:
    witness = Witness(bench.folder, bench.account.uid)
    with service(PERMIT, witness.line) as pam:
        bench.start("stubborn", pam=pam)
        bench.what_it_told()
        bench.runtime.stop(UEP, 0.0)
        bench.until(lambda: bool(bench.exits))
    assert [line[0] for line in witness.seen()] == ["open_session", "close_session"]
    assert (bench.exits[0].session, bench.exits[0].signal) == ("closed", signal.SIGKILL)


def test_limits_of_the_session_hold_inside(one_bench: Bench) -> None:
    limits = write_limits(one_bench.folder, one_bench.account)
    with service(PERMIT, f"session required pam_limits.so conf={limits}") as pam:
        one_bench.start("describe", pam=pam)
        told = one_bench.what_it_told()
    assert told["files"] == [301, 402]
    assert told["core"] == [0, 0]
    assert told["status"].pop("NoNewPrivs") == "1"
    assert {int(mask, 16) for mask in told["status"].values()} == {0}
    assert told["groups"] == sorted(group.gid for group in one_bench.account.groups)
    assert len(told["descriptors"]) == 4
    assert told["first"] == {"password": "hunter2"}


def test_the_sessions_environment_comes_but_decides_nothing(one_bench: Bench) -> None:
    conf = one_bench.folder / "pam_env.conf"
    wanted = ("SCRATCH", "HOME", "PATH", "LD_PRELOAD", "PYTHONPATH", "SITE")
    conf.write_text("".join(f"{name} DEFAULT=/from/pam\n" for name in wanted))
    line = f"session required pam_env.so conffile={conf} readenv=0"
    with service(PERMIT, line) as pam:
        one_bench.start("describe", pam=pam)
        told = one_bench.what_it_told()["environment"]
    assert (told["SCRATCH"], told["SITE"]) == ("/from/pam", "/from/pam")
    assert told["HOME"] == one_bench.account.dir
    assert told["PATH"] == "/usr/bin:/bin"
    assert not {"LD_PRELOAD", "PYTHONPATH"} & told.keys()


def test_a_module_that_hangs_ends_in_time_and_holds_up_nobody(bench: Bench) -> None:
    other = "00000000-0000-4000-8000-00000000beef"
    hang = "account required pam_exec.so /bin/sleep 3600"
    with service(hang, SESSION, timeout_s=1.0) as pam:
        began = time.monotonic()
        bench.start("serve", pam=pam)
        bench.start("leave", user_endpoint=other)
        bench.until(lambda: len(bench.exits) == 2)
        assert time.monotonic() - began < 15
    first, last = bench.exits
    assert (first.user_endpoint, first.exit_code) == (other, 3)
    assert "pam_acct_mgmt did not end within 1 s" in last.failure
    assert last.code is ErrorCode.START_FAILED
    assert "sleep" not in last.public
    assert not [each for each in Path("/proc").glob("[0-9]*/cmdline") if is_hanging(each)]


def test_a_stop_while_a_module_hangs_is_heard(bench: Bench) -> None:
    with service("account required pam_exec.so /bin/sleep 3600", SESSION) as pam:
        bench.start("serve", pam=pam)
        bench.until(lambda: any(is_hanging(each) for each in Path("/proc").glob("*/cmdline")))
        bench.runtime.stop(UEP, 0.0)
        bench.until(lambda: bool(bench.exits))
    assert "killed in pam_acct_mgmt" in bench.exits[0].failure


def test_an_end_of_a_session_that_hangs_ends_in_time(bench: Bench) -> None:
    script = bench.folder / "hang.sh"
    script.write_text('#!/bin/sh\n[ "$PAM_TYPE" = open_session ] || exec /bin/sleep 3600\n')
    script.chmod(0o755)
    with service(PERMIT, f"session required pam_exec.so {script}") as pam:
        bench.start("leave", pam=pam)
        bench.until(lambda: bool(bench.exits))
    assert bench.exits[0].session.startswith("not closed: pam_close_session did not end within")
    assert bench.exits[0].failure == ""
    assert processes_of(bench.account.uid) == []


def test_a_killed_keeper_leaves_no_process_but_an_open_session(one_bench: Bench) -> None:
    witness = Witness(one_bench.folder, one_bench.account.uid)
    with service(PERMIT, witness.line) as pam:
        keeper = one_bench.start("breed", pam=pam)
        one_bench.what_it_told()
        os.kill(keeper, signal.SIGKILL)
        one_bench.until(lambda: bool(one_bench.exits))
    assert processes_of(one_bench.account.uid) == []
    assert [line[0] for line in witness.seen()] == ["open_session"]
    assert one_bench.exits[0].signal == signal.SIGKILL
    assert one_bench.exits[0].session == "not closed: the keeper was killed"


@pytest.mark.parametrize("own_space", [True, False])
def test_a_killed_launcher_leaves_no_process_and_no_session(
    open_folder: Path, account: Account, own_space: bool
) -> None:
    witness = Witness(open_folder, account.uid)
    with service(PERMIT, witness.line) as pam:
        program = (
            "import sys; from pathlib import Path\n"
            "from chamberlain_endpoint.launcher.accounts import look_up\n"
            "from chamberlain_endpoint.launcher.settings import PamSettings\n"
            "from tests.privilege.test_process_runtime import Bench\n"
            f"bench = Bench(Path({str(open_folder)!r}), look_up({account.uname!r}),"
            f" may_own_space={own_space})\n"
            f"bench.start('breed', pam=PamSettings(True, {pam.service!r})); bench.what_it_told()\n"
            "print('ready', flush=True)\n"
            "bench.loop.run()\n"
        )
        launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        launcher.stdout.close()
        until(lambda: len(witness.seen()) == 2)
    assert witness.seen()[1][0] == "close_session"
    assert witness.seen()[1][-1] == "0"
    assert processes_of(account.uid) == []


def is_hanging(cmdline: Path) -> bool:
    try:
        return cmdline.read_bytes() == b"/bin/sleep\x003600\x00"
    except OSError:
        return False


def write_pam(launcher: LauncherProcess, pam: PamSettings) -> None:
    launcher.write_config(f'[pam]\nenable = true\nservice = "{pam.service}"\n')


def audited(launcher: LauncherProcess, action: str) -> list[dict[str, str]]:
    lines = map(json.loads, launcher.audit.read_text().splitlines())
    return [line for line in lines if line["action"] == action]


def refused(launcher: LauncherProcess, account: Account) -> tuple[str, str, dict[str, str]]:
    """Launch; return what the caller is told, its code, and the audit line."""
    launcher.launch(launcher.hub.token(username=username_of(account)))
    until(lambda: bool(launcher.client.list().ended))
    (ended,) = launcher.client.list().ended
    assert isinstance(ended, Ended)
    code, sentence = explain_end(ended)
    (line,) = audited(launcher, "ended")
    return sentence, code, line


def test_nologin_refuses_with_its_own_words(launcher: LauncherProcess, account: Account) -> None:
    notice = launcher.folder / "nologin"
    notice.write_text("Maintenance until noon.\nSee the site's news.\n")
    with service(f"account required pam_nologin.so file={notice}", SESSION) as pam:
        write_pam(launcher, pam)
        launcher.start()
        sentence, code, line = refused(launcher, account)
    assert sentence == (
        "The site does not let this account in now: Maintenance until noon. See the site's news."
    )
    assert code == line["code"] == ErrorCode.ACCOUNT_REFUSED
    assert line["outcome"] == "never ran"
    for part in (pam.service, "pam_acct_mgmt", "PAM_AUTH_ERR", "Maintenance until noon."):
        assert part in line["reason"]
    (logged,) = [line for line in launcher.log() if line["event"] == "user_endpoint.ended"]
    assert logged["level"] == "ERROR"
    assert "PAM_AUTH_ERR" in logged["reason"]
    assert audited(launcher, "session") == []


def test_a_shell_that_the_site_does_not_list_is_refused_without_internals(
    launcher: LauncherProcess, account: Account
) -> None:
    # The account of the tests has nologin as its shell, which /etc/shells does not list.
    with service("account required pam_shells.so", SESSION) as pam:
        write_pam(launcher, pam)
        launcher.start()
        sentence, code, line = refused(launcher, account)
        assert pam.service not in sentence
    assert sentence.startswith("The site does not let this account in now: ")
    assert "PAM" not in sentence
    assert code == ErrorCode.ACCOUNT_REFUSED
    assert "pam_acct_mgmt: PAM_AUTH_ERR" in line["reason"]


RULES = {
    "succeed_if": "pam_succeed_if.so quiet user ingroup {group}",
    "access": "pam_access.so nodefgroup accessfile={folder}/access.conf",
    "listfile": "pam_listfile.so item=group sense=allow file={folder}/groups onerr=fail",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_about_groups_is_the_sites(
    launcher: LauncherProcess, account: Account, rule: str
) -> None:
    (others,) = {group.name for group in account.groups} - {account.uname}
    for let_in, group in ((False, "wheelers"), (True, others)):
        (launcher.folder / "access.conf").write_text(f"- : ALL EXCEPT ({group}) : ALL\n")
        (launcher.folder / "groups").write_text(f"{group}\n")
        line = RULES[rule].format(group=group, folder=launcher.folder)
        with service(f"account required {line}", SESSION) as pam:
            write_pam(launcher, pam)
            launcher.start()
            if let_in:
                launcher.launch(launcher.hub.token(username=username_of(account)))
                launcher.told(account.uid)
                assert len(audited(launcher, "session")) == 1
            else:
                sentence, code, _ = refused(launcher, account)
                assert code == ErrorCode.ACCOUNT_REFUSED
                assert sentence.startswith("The site does not let this account in now: ")
            launcher.end()


def test_the_file_that_we_bring_works_on_this_host(
    one_bench: Bench, launcher: LauncherProcess
) -> None:
    with service() as pam:
        path = Path("/etc/pam.d", pam.service)
        path.unlink()
        assert ensure(path)
        assert not ensure(path), "a second time it is the site's"
        write_pam(launcher, pam)
        assert launcher.run("--check").returncode == 0
        one_bench.start("serve", pam=pam)
        one_bench.until(lambda: bool(one_bench.news or one_bench.exits))
        assert one_bench.news == [SessionOpened(UEP)]
        one_bench.runtime.stop(UEP, 5.0)
        one_bench.until(lambda: bool(one_bench.exits))
    assert (one_bench.exits[0].failure, one_bench.exits[0].session) == ("", "closed")


def test_a_module_that_is_not_there_is_the_sites_fault_not_the_callers(
    launcher: LauncherProcess, account: Account
) -> None:
    with service("account required pam_chtest_absent.so", SESSION) as pam:
        write_pam(launcher, pam)
        launcher.start()
        sentence, code, line = refused(launcher, account)
    assert code == ErrorCode.START_FAILED
    assert "chtest" not in sentence
    assert "PAM_MODULE_UNKNOWN" in line["reason"]


def test_the_audit_log_tells_of_the_session(launcher: LauncherProcess, account: Account) -> None:
    with service(PERMIT, SESSION) as pam:
        write_pam(launcher, pam)
        launcher.start()
        launcher.launch(launcher.hub.token(username=username_of(account)))
        launcher.told(account.uid)
        (opened,) = audited(launcher, "session")
        launcher.client.stop(UEP, grace_s=5.0, why="test")
    (ended,) = audited(launcher, "ended")
    assert (opened["outcome"], opened["reason"]) == ("opened", f"PAM service {pam.service}")
    assert opened["account"] == account.uname
    assert ended["reason"].endswith("; PAM session closed")


def test_without_a_service_file_the_launcher_does_not_start(launcher: LauncherProcess) -> None:
    write_pam(launcher, PamSettings(True, "chtest-absent"))
    done = launcher.run("--check")
    assert done.returncode == 78
    assert "pam.service: /etc/pam.d/chtest-absent" in done.stderr
    assert "chamberlain-endpoint pam-service --install" in done.stderr


def test_a_service_file_that_does_not_decide_is_refused(launcher: LauncherProcess) -> None:
    # Its session opens nevertheless: the host's file for all others is asked who may come in.
    with service(SESSION) as pam:
        write_pam(launcher, pam)
        done = launcher.run("--check")
    assert done.returncode == 78
    assert f"/etc/pam.d/{pam.service} has no line of the type account" in done.stderr
    assert "write who may come in" in done.stderr


def test_a_service_file_of_others_is_refused(launcher: LauncherProcess, account: Account) -> None:
    with service(PERMIT, SESSION) as pam:
        write_pam(launcher, pam)
        assert launcher.run("--check").returncode == 0
        os.chown(f"/etc/pam.d/{pam.service}", account.uid, account.gid)
        done = launcher.run("--check")
        os.chown(f"/etc/pam.d/{pam.service}", 0, 0)
    assert done.returncode == 78
    assert f"belongs to uid {account.uid}" in done.stderr


def test_a_real_user_endpoint_has_the_sessions_limits(one_bench: Bench) -> None:
    order = {
        "v": 1,
        "endpoint": UEP,
        "user_endpoint": UEP,
        "command": UEP,
        "config": {"engine": {"type": "ThreadPoolEngine"}},
        "credentials": {"endpoint_id": UEP}
        | {
            name: {
                "connection_url": "amqp://nobody:none@127.0.0.1:9/none",
                "exchange": "none",
                "queue": "none",
                "queue_publish_kwargs": {},
            }
            for name in ("task_queue_info", "result_queue_info", "heartbeat_queue_info")
        },
        "state_dir": str(one_bench.accounts_dir / str(one_bench.account.uid) / UEP),
        "lease_s": 30.0,
    }
    limits = write_limits(one_bench.folder, one_bench.account)
    with service(PERMIT, f"session required pam_limits.so conf={limits}") as pam:
        one_bench.run_real_one(json.dumps(order).encode() + b"\n", pam)
        log = one_bench.accounts_dir / str(one_bench.account.uid) / UEP / "endpoint.log"
        one_bench.until(lambda: log.exists() and "endpoint.serving" in log.read_text())
        # Now, and not while it starts: what comes before it is its account's, too.
        (pid,) = processes_of(one_bench.account.uid)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max open files +301 +402 ", limits)
        assert b"chamberlain_endpoint.user.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
