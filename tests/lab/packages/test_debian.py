"""From the repository onto booted Debian 13 hosts: a site, its units, an upgrade, and the end.

In this order: the last test takes everything away.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.lab.packages import hosts
from tests.lab.packages.conftest import Built
from tests.lab.packages.hosts import HUB_UNIT, LAUNCHER, MANAGER, PACKAGE

from devtools.image import build as images
from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN, Plan
from devtools.lab.rollout import Site, person
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.needs_packages,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
SETTINGS = f"/etc/chamberlain/{hosts.ENDPOINT}"
WORST = 3.0
"""Of 10, as systemd-analyze counts."""
WORST_FOR_PROCESSES = 5.5
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Installed:
    """A site from packages; `before` is what was on each host without them."""

    lab: Lab
    site: Site
    before: dict[str, set[str]]
    later: Any


@pytest.fixture(scope="module")
def installed(built: Built) -> Iterator[Installed]:
    """Hub and login node, bare; then the packages, and a site."""
    lab = Lab(f"packages-{os.getpid()}")
    try:
        lab.up(Plan(only=(HUB, LOGIN)), Reporter(), bare=True)
        hosts.serve(lab, built.first)
        before = {host: hosts.listed(lab, host) for host in PACKAGE}
        for host, package in PACKAGE.items():
            hosts.apt(lab, host, "install", package)
        site = hosts.start_endpoint(lab, hosts.start_hub(lab))
        yield Installed(lab, site, before, built.later)
    finally:
        lab.down()


def test_hello_from_a_site_of_packages(installed: Installed) -> None:
    said = hosts.hello(installed.lab, installed.site, "alice")
    assert (said["hostname"], said["username"], said["uid"]) == (LOGIN, "alice", 1001)


def test_units_are_closed_and_what_is_opened_for_processes_is_told(installed: Installed) -> None:
    lab = installed.lab
    assert exposure(lab, HUB, HUB_UNIT) <= WORST
    assert exposure(lab, LOGIN, MANAGER) <= WORST
    assert WORST < exposure(lab, LOGIN, LAUNCHER) <= WORST_FOR_PROCESSES
    drop_in = f"/etc/systemd/system/{LAUNCHER}.d/50-enable-on-boot.conf"
    assert "# They work in their homes" in lab.run(LOGIN, ["cat", drop_in]).stdout


def test_a_restart_and_a_reload_of_the_manager_leave_user_endpoints_alone(
    installed: Installed,
) -> None:
    lab, site = installed.lab, installed.site
    hosts.hello(lab, site, "alice")
    running, launcher = hosts.user_endpoints(lab), hosts.main_pid(lab, LOGIN, LAUNCHER)
    assert running
    lab.run(LOGIN, ["systemctl", "restart", MANAGER])
    manager = hosts.main_pid(lab, LOGIN, MANAGER)
    rollout.wait_online(lab, site)
    lab.run(LOGIN, ["sed", "-i", 's/^display_name:.*/display_name: "Reloaded"/', CONFIG])
    lab.run(LOGIN, ["systemctl", "reload", MANAGER])
    assert wait_until(lambda: endpoint_of(installed)["display_name"] == "Reloaded", WAIT_S)
    assert hosts.main_pid(lab, LOGIN, MANAGER) == manager
    assert hosts.main_pid(lab, LOGIN, LAUNCHER) == launcher
    hosts.hello(lab, site, "alice")
    assert hosts.user_endpoints(lab) == running


def test_a_reload_with_a_fault_is_told_and_changes_nothing(installed: Installed) -> None:
    lab = installed.lab
    manager = hosts.main_pid(lab, LOGIN, MANAGER)
    lab.run(LOGIN, ["sh", "-c", f"cp -p {CONFIG} /root/kept; echo 'heartbeat: 3' >> {CONFIG}"])
    try:
        assert lab.run(LOGIN, ["systemctl", "reload", MANAGER], check=False).returncode != 0
        said = lab.run(LOGIN, ["tail", "-n", "20", LOG]).stdout
        assert "heartbeat" in said
    finally:
        lab.run(LOGIN, ["mv", "/root/kept", CONFIG])
    assert hosts.main_pid(lab, LOGIN, MANAGER) == manager
    hosts.hello(lab, installed.site, "alice")


def test_a_reload_of_the_hub_rereads_its_settings_in_place(installed: Installed) -> None:
    lab = installed.lab
    hub = hosts.main_pid(lab, HUB, HUB_UNIT)
    added = 'metrics_listen = "127.0.0.1:5999"\n'
    lab.run(HUB, ["sh", "-c", "cat >> /etc/chamberlain/hub.toml"], given=added)
    lab.run(HUB, ["systemctl", "reload", HUB_UNIT])
    words = ["curl", "-sf", "--max-time", "5", "-o", "/dev/null", "http://127.0.0.1:5999/metrics"]
    assert wait_until(lambda: lab.run(HUB, words, check=False).returncode == 0, WAIT_S)
    assert hosts.main_pid(lab, HUB, HUB_UNIT) == hub
    hosts.hello(lab, installed.site, "alice")


def test_an_upgrade_leaves_user_endpoints_and_settings_alone(installed: Installed) -> None:
    lab, site = installed.lab, installed.site
    hosts.hello(lab, site, "alice")
    running, launcher = hosts.user_endpoints(lab), hosts.main_pid(lab, LOGIN, LAUNCHER)
    manager, hub = hosts.main_pid(lab, LOGIN, MANAGER), hosts.main_pid(lab, HUB, HUB_UNIT)
    settings = lab.run(HUB, ["cat", "/etc/chamberlain/hub.toml"]).stdout
    hosts.serve(lab, installed.later)
    for host, package in PACKAGE.items():
        hosts.apt(lab, host, "install", package)
        version = lab.run(host, ["dpkg-query", "-W", "-f", "${Version}", package]).stdout
        assert "-2~deb13" in version
    hosts.wait_active(lab, HUB, HUB_UNIT)
    assert hosts.main_pid(lab, HUB, HUB_UNIT) != hub
    assert hosts.main_pid(lab, LOGIN, MANAGER) != manager
    assert hosts.main_pid(lab, LOGIN, LAUNCHER) == launcher
    assert lab.run(HUB, ["cat", "/etc/chamberlain/hub.toml"]).stdout == settings
    rollout.wait_online(lab, site)
    assert hosts.hello(lab, site, "alice")["username"] == "alice"
    assert running <= hosts.user_endpoints(lab)
    # Whoever wants the new launcher says so; who has no user endpoint yet gets one of it.
    lab.run(LOGIN, ["chamberlain-endpoint", "restart", hosts.ENDPOINT], limit_s=200.0)
    rollout.wait_online(lab, site)
    assert hosts.main_pid(lab, LOGIN, LAUNCHER) != launcher
    assert hosts.hello(lab, site, "bob")["username"] == "bob"


def test_status_stop_and_start_are_systemds(installed: Installed) -> None:
    lab, site = installed.lab, installed.site
    (row,) = hosts.endpoint(lab, "list")["endpoints"]
    assert row["state"] == "running"
    reports = lab.run(LOGIN, ["chamberlain-endpoint", "doctor", hosts.ENDPOINT]).stdout
    assert f"systemd: runs {MANAGER}" in reports
    assert "active (running)" in lab.run(LOGIN, ["systemctl", "status", MANAGER]).stdout
    lab.run(LOGIN, ["systemctl", "stop", LAUNCHER], limit_s=200.0)
    for unit in (MANAGER, LAUNCHER):
        assert hosts.main_pid(lab, LOGIN, unit) == 0
    assert hosts.user_endpoints(lab) == set()
    lab.run(LOGIN, ["systemctl", "start", MANAGER])
    rollout.wait_online(lab, site)
    assert hosts.endpoint(lab, "stop", hosts.ENDPOINT)["was_running"]
    assert hosts.main_pid(lab, LOGIN, LAUNCHER) == 0
    lab.run(LOGIN, ["systemctl", "start", MANAGER])
    rollout.wait_online(lab, site)


def test_the_closed_launcher_runs_containers_and_refuses_what_it_is_closed_for(
    installed: Installed,
) -> None:
    lab, site = installed.lab, installed.site
    launcher = f"{SETTINGS}/launcher.toml"
    image = images.build(Reporter(), lab)
    shutil.copy(image.archive, lab.share / "image.tar")
    digest = str(image.about["digest"])
    words = ["image", "install", "/srv/lab/image.tar", "--digest", digest]
    lab.run(LOGIN, ["chamberlain-endpoint", *words], limit_s=600.0)
    more = (
        f'\n[runtime]\nkind = "container"\nimage = "usual"\n[runtime.images]\nusual = "{digest}"\n'
    )
    lab.run(
        LOGIN, ["sh", "-c", f"cp {launcher} /root/launcher.toml; cat >> {launcher}"], given=more
    )
    hosts.endpoint(lab, "enable-on-boot", hosts.ENDPOINT)
    assert exposure(lab, LOGIN, LAUNCHER) <= WORST
    lab.run(LOGIN, ["systemctl", "restart", LAUNCHER, MANAGER], limit_s=200.0)
    rollout.wait_online(lab, site)
    assert hosts.hello(lab, site, "alice")["username"] == "alice"
    assert beside(lab)["container"]
    # The settings of before, in the unit of now.
    containers = lab.run(LOGIN, ["cat", launcher]).stdout
    lab.run(LOGIN, ["cp", "/root/launcher.toml", launcher])
    lab.run(LOGIN, ["systemctl", "restart", LAUNCHER], limit_s=200.0)
    tail = ["tail", "-n", "5", f"/var/log/chamberlain/{hosts.ENDPOINT}/launcher.log"]
    wanted = "closed for all but containers; run: chamberlain-endpoint enable-on-boot"
    assert wait_until(lambda: wanted in lab.run(LOGIN, tail).stdout, WAIT_S)
    lab.run(LOGIN, ["systemctl", "stop", LAUNCHER], limit_s=200.0)
    rollout.put(lab, LOGIN, "/root/containers.toml", containers)


def beside(lab: Lab) -> dict[str, set[str]]:
    """Return the containers that run, and what stands beside them and the launcher."""
    found = {"container": set(lab.run(LOGIN, ["podman", "ps", "-q"]).stdout.split())}
    for name in ("holder", "clerk"):
        pattern = f"chamberlain_endpoint.launcher.runtime.[{name[0]}]{name[1:]}"
        said = lab.run(LOGIN, ["pgrep", "-f", pattern], check=False).stdout
        found[name] = set(said.split())
    return found


def test_a_killed_launcher_leaves_containers_and_their_sessions_to_the_next(
    installed: Installed,
) -> None:
    lab, site = installed.lab, installed.site
    # The service file is the package's own.
    text = lab.run(LOGIN, ["cat", "/root/containers.toml"]).stdout
    changed = text.replace("\nenable = false\nservice =", "\nenable = true\nservice =")
    assert changed != text
    rollout.put(lab, LOGIN, f"{SETTINGS}/launcher.toml", changed, mode="0644")
    hosts.endpoint(lab, "enable-on-boot", hosts.ENDPOINT)
    lab.run(LOGIN, ["systemctl", "restart", LAUNCHER, MANAGER], limit_s=200.0)
    rollout.wait_online(lab, site)
    assert hosts.hello(lab, site, "alice")["username"] == "alice"
    before, old = beside(lab), hosts.main_pid(lab, LOGIN, LAUNCHER)
    assert [len(found) for found in before.values()] == [1, 1, 1]
    lab.run(LOGIN, ["kill", "-9", str(old)])
    assert wait_until(lambda: hosts.main_pid(lab, LOGIN, LAUNCHER) not in (0, old), WAIT_S)
    rollout.wait_online(lab, site)
    assert hosts.hello(lab, site, "alice")["username"] == "alice"
    # The clerk of before ends when it sees that another launcher is there.
    assert wait_until(lambda: len(beside(lab)["clerk"]) == 1, WAIT_S)
    now = beside(lab)
    assert (now["container"], now["holder"]) == (before["container"], before["holder"])
    lab.run(LOGIN, ["systemctl", "stop", LAUNCHER], limit_s=200.0)
    assert beside(lab) == {"container": set(), "holder": set(), "clerk": set()}
    lab.run(LOGIN, ["cp", "/root/launcher.toml", f"{SETTINGS}/launcher.toml"])
    hosts.endpoint(lab, "enable-on-boot", hosts.ENDPOINT)


def test_removal_keeps_what_is_the_sites_and_purge_leaves_nothing(installed: Installed) -> None:
    lab = installed.lab
    lab.run(LOGIN, ["systemctl", "start", MANAGER])
    lab.run(LOGIN, ["sh", "-c", "podman rm -fa; chamberlain-endpoint image list >/dev/null"])
    for host, package in PACKAGE.items():
        hosts.apt(lab, host, "remove", package)
        assert lab.run(host, ["pgrep", "-f", "/opt/[c]hamberlain"], check=False).stdout == ""
    assert lab.run(LOGIN, ["cat", f"{SETTINGS}/config.yaml"]).stdout
    assert lab.run(HUB, ["stat", "-c", "%a %U %G", "/etc/chamberlain/hub.toml"]).stdout == (
        "640 root chamberlain-hub\n"
    )
    for host, package in PACKAGE.items():
        hosts.apt(lab, host, "purge", package)
        after = hosts.listed(lab, host)
        assert sorted(after - installed.before[host]) == []
        assert sorted(installed.before[host] - after) == []


CONFIG = f"{SETTINGS}/config.yaml"
LOG = f"/var/log/chamberlain/{hosts.ENDPOINT}/manager.log"


def exposure(lab: Lab, host: str, unit: str) -> float:
    """Return how exposed systemd finds `unit`."""
    said = lab.run(host, ["systemd-analyze", "security", "--no-pager", unit]).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


def endpoint_of(installed: Installed) -> dict[str, Any]:
    """Return what the hub knows of the endpoint."""
    token = installed.site.tokens[person("alice")]
    path = f"/v2/endpoints/{installed.site.endpoint_id}"
    answer: dict[str, Any] = rollout.ask(installed.lab, path, token) or {"display_name": ""}
    return answer
