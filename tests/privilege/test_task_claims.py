"""The real launcher, and accounts' processes that tell it of tasks what they like."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.launcher_builders import UEP
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import LauncherProcess, username_of

from chamberlain_endpoint.launcher import audit_chain
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_wire.claims import BURST, RATE_PER_S

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


def audited(launcher: LauncherProcess, action: str) -> list[dict[str, Any]]:
    lines = map(json.loads, launcher.audit.read_text().splitlines())
    return [line for line in lines if line["action"] == action]


def launch(launcher: LauncherProcess, account: Account, behaviour: str) -> None:
    launcher.behaviour = behaviour
    launcher.start()
    launcher.launch(launcher.hub.token(username=username_of(account)))


def test_what_is_no_record_is_one_line_and_ends_nothing_else(
    launcher: LauncherProcess, account: Account
) -> None:
    launch(launcher, account, "babble")
    until(lambda: bool(audited(launcher, "silence")))
    (line,) = audited(launcher, "silence")
    assert (line["account"], line["outcome"]) == (account.uname, "silenced")
    assert "version" in line["reason"]
    (running,) = launcher.client.list().running
    assert running.user_endpoint == UEP
    assert len(processes_of(account.uid)) == 1


def test_a_flood_is_bounded_and_holds_up_no_request(
    launcher: LauncherProcess, account: Account
) -> None:
    began = time.monotonic()
    launch(launcher, account, "flood_of_records")
    slowest_s = 0.0
    while not launcher.client.list().ended:
        asked = time.monotonic()
        launcher.client.hello()
        slowest_s = max(slowest_s, time.monotonic() - asked)
        assert time.monotonic() - began < 60
    took_s = time.monotonic() - began
    # What it costs is one read of one pipe, however fast the other side writes.
    assert slowest_s < 5
    assert len(audited(launcher, "silence")) == 1
    assert launcher.end() == 0
    tasks = launcher.audit.with_name("tasks.log")
    assert 0 < audit_chain.verify(tasks).lines <= BURST + took_s * RATE_PER_S
    first = next(audit_chain.entries(tasks))
    assert (first["account"], first["uid"]) == (account.uname, account.uid)
    assert (first["by"], first["user_endpoint"]) == ("user endpoint", UEP)


def test_where_the_site_does_not_want_to_know_nothing_is_told(
    launcher: LauncherProcess, account: Account
) -> None:
    launcher.write_config()
    text = launcher.config.read_text()
    launcher.config.write_text(f"audit_tasks = false\n{text}")
    launch(launcher, account, "listen")
    assert launcher.told(account.uid)["first"]["tells_tasks"] is False
