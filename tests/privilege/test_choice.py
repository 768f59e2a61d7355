"""The real launcher where some get processes and others containers, of an engine that is down.

That a real engine runs those who get containers is shown in the lab (tests/lab/test_choice.py).
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from tests.privilege.conftest import GROUP, processes_of
from tests.privilege.launcher_process import LauncherProcess, refusal, username_of
from tests.privilege.pam_service import PERMIT, SESSION, service

from chamberlain_endpoint.launcher.preflight import CLOSED_FOR
from chamberlain_endpoint.launcher.protocol import Account

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

SILENT = "The site's container engine does not answer"
NOT_YOURS = "the site lets your account have: container."


def choose(launcher: LauncherProcess, *more: str) -> None:
    """Have containers for everybody, of an engine that is not there, and `more`."""
    digest = "sha256:" + "a" * 64
    lines = (
        'kind = "container"',
        'socket = "/nowhere/podman.sock"',
        'image = "usual"',
        f'images = {{usual = "{digest}"}}',
    )
    launcher.write_config(runtime="\n".join((*lines, *more)))


BOTH = f'group_kinds = {{{GROUP} = ["container", "process"]}}'
NONE = f'group_kinds = {{{GROUP} = "container"}}'
LENIENT = 'if_unavailable = "process"'


@pytest.mark.parametrize(
    ("more", "asked", "refused"),
    [
        ((BOTH,), "process", ""),
        ((BOTH,), "", SILENT),
        ((NONE,), "process", NOT_YOURS),
        ((LENIENT,), "", ""),
        ((LENIENT, NONE), "", SILENT),
        ((LENIENT, NONE), "process", NOT_YOURS),
    ],
    ids=[
        "chosen by the template among what the group may have",
        "the usual one of the group",
        "chosen by the template against the file",
        "fallen back",
        "not fallen back against the group's entry",
        "asked for against the group's entry",
    ],
)
def test_nobody_gets_a_process_whom_the_file_gives_none(
    launcher: LauncherProcess, account: Account, more: tuple[str, ...], asked: str, refused: str
) -> None:
    choose(launcher, *more)
    launcher.start()
    token = launcher.hub.token(username=username_of(account))
    config = {"runtime": asked} if asked else {}
    if refused:
        assert refused in refusal(launcher, token, **config).public
        assert processes_of(account.uid) == []
    else:
        assert not launcher.launch(token, **config)
        assert launcher.told(account.uid)["uid"] == account.uid
    assert launcher.end() == 0
    assert processes_of(account.uid) == []


def test_the_accounts_own_entry_gives_a_process_without_a_containers_lease(
    launcher: LauncherProcess, account: Account
) -> None:
    choose(launcher, NONE, f'account_kinds = {{{account.uname} = "process"}}')
    launcher.start()
    launcher.launch(launcher.hub.token(username=username_of(account)))
    assert launcher.told(account.uid)["first"]["lease_file"] == ""


def test_the_check_doubts_names_that_are_nobodys(launcher: LauncherProcess) -> None:
    choose(launcher, 'account_kinds = {chtestnone = "process"}', "group_limits.chtestnone = {}")
    done = launcher.run("--check")
    assert done.returncode == 0, done.stderr
    assert "runtime.account_kinds: this host has no account 'chtestnone'" in done.stdout
    assert "runtime.group_limits: this host has no group 'chtestnone'" in done.stdout


@pytest.mark.parametrize("what", ["processes", "sessions"])
def test_a_unit_that_is_closed_names_what_it_is_closed_for(
    launcher: LauncherProcess, what: str
) -> None:
    with service(PERMIT, SESSION) as pam:
        if what == "processes":
            choose(launcher, BOTH)
            wanted = f'runtime.group_kinds.{GROUP} = "process": this unit is closed'
        else:
            choose(launcher, "", f'[pam]\nenable = true\nservice = "{pam.service}"')
            wanted = "pam.enable: this unit is closed"
        done = subprocess.run(
            launcher.command("--check"),
            env={**os.environ, CLOSED_FOR: "containers"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 78
    (reason,) = [json.loads(line)["reason"] for line in done.stderr.splitlines()]
    assert reason.startswith(wanted)
