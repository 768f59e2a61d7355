"""Three brokers that are one: one of them is killed while people submit, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
from tests.ansible.conftest import Bare, files
from tests.ansible.submitting import submitting
from tests.ansible.test_rollout import differences

from devtools.lab import plays, rollout
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.plays import Play
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
HOSTS: Final = (HUB, LOGIN, "node1")
NAME: Final = "brokers"
COOKIE: Final = "/var/lib/rabbitmq/.erlang.cookie"
PASSWORD: Final = "/etc/rabbitmq/chamberlain-password"
UNIT: Final = "rabbitmq-server.service"
PROGRAMS: Final = "/opt/chamberlain"
GIVEN: Final = MappingProxyType(
    {
        "hub_broker_host": NAME,
        "broker_tls": True,
        "broker_port": 5671,
        "hub_broker_port": 5671,
        "hub_broker_tls": True,
        "endpoint_scheduler": "none",
        "worker_scheduler": "none",
    }
)
WAIT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Three:
    """A site with three brokers.

    Attributes:
        before: host -> its files before.
    """

    bare: Bare
    before: Mapping[str, set[str]]
    first: Play
    endpoint_id: str
    token: str

    def queues(self, host: str = "node1") -> list[dict[str, Any]]:
        """Return what the broker of `host` knows of the queues."""
        words = ("--formatter", "json", "list_queues", "-p", "chamberlain")
        told = ("name", "type", "leader", "online")
        said = self.bare.lab.run(host, ["rabbitmqctl", "--quiet", *words, *told], limit_s=60.0)
        found: list[dict[str, Any]] = json.loads(said.stdout)
        return found

    def are_whole(self) -> bool:
        """Tell whether all brokers hold all queues."""
        return all(len(one["online"]) == len(HOSTS) for one in self.queues())


def play(bare: Bare, playbook: str, *words: str) -> Play:
    given = {"software_wheels": bare.given["software_wheels"], **GIVEN}
    also = {"chamberlain_broker": HOSTS}
    return plays.play(bare.lab, playbook, given, *words, also=also, limit_s=1500.0)


@pytest.fixture(scope="module")
def three(bare: Bare) -> Iterator[Three]:
    lab = bare.lab
    known = {host: lab.run(host, ["cat", "/etc/hosts"]).stdout for host in HOSTS}
    # One name with three addresses, as a site's name server has it.
    lines = "".join(f"{lab.host(host).address} {NAME}\n" for host in HOSTS)
    for host in HOSTS:
        lab.run(host, ["tee", "-a", "/etc/hosts"], given=lines)
    for host in HOSTS[1:]:
        lab.run(host, ["rm", COOKIE])  # the hosts of a lab have one secret from the start
    try:
        before = {host: files(lab, host) for host in HOSTS}
        first = play(bare, "site.yml", "--diff", "-vvv")
        assert first.code == 0, first.said[-6000:]
        program = f"{PROGRAMS}/bin/chamberlain-endpoint"
        (row,) = json.loads(lab.run(LOGIN, [program, "list", "--json"]).stdout)["endpoints"]
        (token,) = rollout.make_tokens(lab, ["alice@example.edu"]).values()
        yield Three(bare, before, first, row["endpoint_id"], token)
    finally:
        for host, text in known.items():
            lab.run(host, ["tee", "/etc/hosts"], given=text)


def test_a_second_run_changes_nothing(three: Three) -> None:
    second = play(three.bare, "site.yml")
    assert second.code == 0, second.said[-6000:]
    assert second.changed == dict.fromkeys(HOSTS, 0), second.said


def test_the_brokers_secret_is_one_and_in_no_sight(three: Three) -> None:
    secrets = {three.bare.lab.run(host, ["cat", COOKIE]).stdout.strip() for host in HOSTS}
    (secret,) = secrets
    assert len(secret) >= 20
    assert secret not in three.first.said


def test_every_queue_is_on_all_brokers(three: Three) -> None:
    assert {one["name"] for one in three.queues()} >= {"results", "heartbeats"}
    assert {one["type"] for one in three.queues()} == {"quorum"}
    assert wait_until(three.are_whole, WAIT_S)


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param(HUB, id="that of hub and people"),
        pytest.param(LOGIN, id="that of manager and user endpoints"),
    ],
)
def test_no_task_is_lost_when_a_broker_is_killed(three: Three, victim: str) -> None:
    lab = three.bare.lab
    assert wait_until(three.are_whole, WAIT_S)
    with submitting(lab, three.endpoint_id, three.token, PROGRAMS) as answer:
        begun = {one["name"] for one in three.queues() if one["name"].startswith("results.")}
        lab.run(victim, ["systemctl", "mask", "--quiet", "--runtime", UNIT])
        lab.run(victim, ["systemctl", "kill", "--signal=KILL", UNIT])
        assert begun
        assert wait_until(
            lambda: all(
                one["leader"] != f"rabbit@{victim}" and f"rabbit@{victim}" not in one["online"]
                for one in three.queues()
            ),
            WAIT_S,
        )
    # The broker is still away when the last result has come.
    came = answer.result()
    lab.run(victim, ["systemctl", "unmask", "--quiet", "--runtime", UNIT])
    lab.run(victim, ["systemctl", "start", UNIT], limit_s=180.0)
    assert came["faults"] == []
    assert came["tasks"] > 5


def _lets_in(three: Three, host: str, password: str) -> bool:
    words = ["rabbitmqctl", "--quiet", "authenticate_user", "chamberlain-hub", password]
    return three.bare.lab.run(host, words, check=False, limit_s=60.0).returncode == 0


def test_password_and_keys_are_exchanged_while_people_submit(three: Three) -> None:
    lab = three.bare.lab
    assert wait_until(three.are_whole, WAIT_S)
    old = lab.run(HUB, ["cat", PASSWORD]).stdout.strip()
    with submitting(lab, three.endpoint_id, three.token, PROGRAMS) as answer:
        done = play(three.bare, "rotate-keys.yml", "--diff", "-vvv")
        assert done.code == 0, done.said[-6000:]
    came = answer.result()
    assert came["faults"] == []
    assert came["tasks"] > 5
    new = lab.run(HUB, ["cat", PASSWORD]).stdout.strip()
    assert new not in done.said
    let_in = {host: (_lets_in(three, host, new), _lets_in(three, host, old)) for host in HOSTS}
    assert let_in == dict.fromkeys(HOSTS, (True, False))


def test_a_backup_brings_all_of_them_back(three: Three, tmp_path: Path) -> None:
    lab, file = three.bare.lab, tmp_path / "site.tar"
    password = lab.run(HUB, ["cat", PASSWORD]).stdout.strip()
    for playbook in ("backup.yml", "uninstall.yml", "restore.yml"):
        done = play(three.bare, playbook, "-e", f"backup_file={file}", "-e", "purge=true")
        assert done.code == 0, f"{playbook}: {done.said[-6000:]}"
        if playbook == "uninstall.yml":
            _is_all_taken_away(three)
    assert wait_until(three.are_whole, WAIT_S)
    assert all(_lets_in(three, host, password) for host in HOSTS)
    # The same endpoint, for the same person's token.
    with submitting(lab, three.endpoint_id, three.token, PROGRAMS) as answer:
        pass
    assert answer.result()["faults"] == []


def test_what_is_taken_away_leaves_nothing(three: Three) -> None:
    done = play(three.bare, "uninstall.yml", "-e", "purge=true")
    assert done.code == 0, done.said[-6000:]
    _is_all_taken_away(three)


def _is_all_taken_away(three: Three) -> None:
    for host in HOSTS:
        assert differences(three.before[host], files(three.bare.lab, host)) == [], host
