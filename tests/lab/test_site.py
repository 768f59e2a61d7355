"""A site rolled out on booted hosts, and called from another host, as it would be for real."""

from __future__ import annotations

import pytest

from devtools.lab import looks, rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, Site
from devtools.lab.software import WHERE
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
REBOOT_S = 120.0
PROGRAM = str(WHERE / "bin/chamberlain-endpoint")


@pytest.mark.parametrize(("account", "uid"), [("alice", 1001), ("bob", 1002)])
def test_hello_from_the_login_node_as_ones_own_account(
    lab: Lab, site: Site, account: str, uid: int
) -> None:
    answer = rollout.call(lab, site, rollout.person(account), {})
    assert answer["error"] is None
    said = answer["result"]
    assert (said["hostname"], said["username"], said["uid"]) == (LOGIN, account, uid)


def test_two_people_are_two_namespaces_seen_from_outside(lab: Lab, site: Site) -> None:
    for account in ("alice", "bob"):
        assert rollout.call(lab, site, rollout.person(account), {})["error"] is None
    spaces = {
        one.account: one.spaces["pid"]
        for one in looks.look(lab).processes
        if one.command.endswith("chamberlain_endpoint.user.main")
    }
    assert set(spaces) == {"alice", "bob"}
    assert spaces["alice"] != spaces["bob"]


def test_enable_on_boot_tells_a_systemd_that_runs(lab: Lab, site: Site) -> None:
    said = lab.run(LOGIN, ["systemctl", "is-enabled", ENDPOINT_UNIT]).stdout
    assert said == "enabled\n"
    done = lab.run(LOGIN, [PROGRAM, "disable-on-boot", ENDPOINT])
    try:
        assert "Did: systemctl disable" in done.stdout
        asked = lab.run(LOGIN, ["systemctl", "is-enabled", ENDPOINT_UNIT], check=False)
        assert asked.returncode != 0
        # What runs goes on running.
        assert rollout.status(lab, site) == "online"
    finally:
        done = lab.run(LOGIN, [PROGRAM, "enable-on-boot", ENDPOINT])
    assert "Did: systemctl enable" in done.stdout
    assert lab.run(LOGIN, ["systemctl", "is-active", ENDPOINT_UNIT]).stdout == "active\n"


def test_the_endpoint_comes_back_by_itself_after_a_reboot(lab: Lab, site: Site) -> None:
    boot_of(lab, LOGIN)
    reboot(lab, LOGIN)
    rollout.wait_online(lab, site)
    answer = rollout.call(lab, site, rollout.person("alice"), {})
    assert (answer["error"], answer["result"]["username"]) == (None, "alice")
    assert lab.run(LOGIN, ["systemctl", "is-failed", ENDPOINT_UNIT], check=False).returncode != 0


def test_hub_and_broker_come_back_after_a_reboot_and_the_endpoint_finds_them(
    lab: Lab, site: Site
) -> None:
    reboot(lab, HUB)
    answer = None
    assert wait_until(lambda: rollout.status(lab, site) == "online", REBOOT_S)
    answer = rollout.call(lab, site, rollout.person("bob"), {})
    assert (answer["error"], answer["result"]["username"]) == (None, "bob")


def reboot(lab: Lab, host: str) -> None:
    """Reboot `host` as its administrator would; return when another system runs there."""
    before = boot_of(lab, host)
    lab.run(host, ["systemctl", "reboot"], check=False)
    assert wait_until(lambda: boot_of(lab, host) not in (before, ""), REBOOT_S)


def boot_of(lab: Lab, host: str) -> str:
    """Return when the system on `host` began, or nothing while there is none."""
    leader = lab.host(host).leader
    return "" if leader is None else str(leader)
