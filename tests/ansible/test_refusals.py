"""A wrong variable or a host that is not ready stops the run before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from tests.ansible.conftest import Bare, files

from devtools.lab import plays
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

VARIABLES: Sequence[tuple[str, dict[str, Any], str]] = [
    ("a typo", {"endpoint_maping": []}, "There is no variable endpoint_maping"),
    ("a bad type", {"endpoint_subordinate_count": "many"}, "endpoint_subordinate_count"),
    ("no mapping", {"endpoint_mapping": []}, "There is no identity mapping"),
    ("no ids", {"endpoint_subordinate_count": 0}, "there are no subordinate ids"),
    ("taken ids", {"endpoint_subordinate_first": 1_000_000}, "gives some of them to containers"),
    ("no wheels", {"software_wheels": "/nowhere"}, "where no chamberlain-*.whl is"),
    ("no source", {"software_source": "rpm"}, "value of software_source must be one of"),
    (
        "no repository",
        {"software_source": "packages", "software_repository": "/nowhere"},
        "where no /nowhere/dists/trixie/InRelease is",
    ),
    (
        "no key",
        {"software_source": "packages", "software_repository": "http://127.0.0.1:9/apt"},
        "software_repository_key is empty",
    ),
]


@pytest.fixture(scope="module")
def before(bare: Bare) -> dict[str, set[str]]:
    return {name: files(bare.lab, name) for name in (HUB, LOGIN)}


@pytest.mark.parametrize(
    ("given", "sentence"), [one[1:] for one in VARIABLES], ids=[one[0] for one in VARIABLES]
)
def test_a_wrong_variable_is_told(
    bare: Bare, before: dict[str, set[str]], given: dict[str, Any], sentence: str
) -> None:
    done = bare.play("site.yml", "--limit", LOGIN, **given)
    assert done.code != 0
    assert sentence in told(done.said)
    assert set(done.changed.values()) == {0}
    assert files(bare.lab, LOGIN) == before[LOGIN]


SERVICES: Sequence[tuple[str, dict[str, Any], str, str]] = [
    ("a typo", {"database_prot": 5433}, LOGIN, "There is no variable database_prot"),
    ("a bad type", {"database_max_connections": "many"}, LOGIN, "database_max_connections"),
    ("out of reach", {}, LOGIN, "cannot ask for metrics on the loopback of hub"),
    ("a plain port", {"broker_tls": True}, HUB, "Set broker_port and hub_broker_port to 5671"),
    (
        "a plain hub",
        {"broker_tls": True, "broker_port": 5671, "hub_broker_port": 5671},
        HUB,
        "Set hub_broker_tls to true",
    ),
]


@pytest.mark.parametrize(
    ("given", "host", "sentence"), [one[1:] for one in SERVICES], ids=[one[0] for one in SERVICES]
)
def test_a_wrong_variable_of_a_service_is_told(
    bare: Bare, before: dict[str, set[str]], given: dict[str, Any], host: str, sentence: str
) -> None:
    also = {"chamberlain_database": [LOGIN], "chamberlain_monitoring": [LOGIN]}
    done = plays.play(bare.lab, "site.yml", {**bare.given, **given}, "--limit", host, also=also)
    assert done.code != 0
    assert sentence in told(done.said)
    assert set(done.changed.values()) == {0}
    assert files(bare.lab, host) == before[host]


def test_an_unreachable_broker_is_told(bare: Bare, before: dict[str, set[str]]) -> None:
    given = {**bare.given, "hub_broker_host": "10.77.0.99", "hub_broker_password": "x" * 32}
    done = plays.play(bare.lab, "site.yml", given, "--limit", HUB, without=["chamberlain_broker"])
    assert done.code != 0
    assert "hub cannot reach the broker" in told(done.said)
    assert files(bare.lab, HUB) == before[HUB]


def test_a_munge_that_is_down_is_told(bare: Bare, before: dict[str, set[str]]) -> None:
    bare.lab.run(LOGIN, ["systemctl", "stop", "munge.service"])
    try:
        done = bare.play("site.yml", "--limit", LOGIN)
    finally:
        bare.lab.run(LOGIN, ["systemctl", "start", "munge.service"])
    assert done.code != 0
    assert "munge does not work on login" in told(done.said)
    assert files(bare.lab, LOGIN) == before[LOGIN]


def test_a_clock_five_minutes_off_is_told(bare: Bare) -> None:
    with late_clock(bare.lab):
        done = bare.play("site.yml", "--limit", LOGIN)
    assert done.code != 0
    assert "s behind that of this machine" in told(done.said)
    assert "timedatectl set-ntp true" in told(done.said)


@contextmanager
def late_clock(lab: Lab) -> Iterator[None]:
    """Let Python on the login node be five minutes late: hosts of a lab have one kernel's clock."""
    module = "import time\n_now = time.time\ntime.time = lambda: _now() - 300\n"
    wrapper = '#!/bin/sh\nPYTHONPATH=/root/late exec /usr/bin/python3 "$@"\n'
    put = ("install", "-D", "-m", "0755", "/dev/stdin")
    lab.run(LOGIN, [*put, "/root/late/sitecustomize.py"], given=module)
    lab.run(LOGIN, [*put, "/usr/local/bin/python3"], given=wrapper)
    try:
        yield
    finally:
        lab.run(LOGIN, ["rm", "-r", "/root/late", "/usr/local/bin/python3"])


def told(said: str) -> str:
    """Return what was said, as one line: Ansible folds long texts."""
    return " ".join(said.split())
