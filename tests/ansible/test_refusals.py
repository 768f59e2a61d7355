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


BEHIND: dict[str, Any] = {"hub_listen_host": "127.0.0.1", "hub_url": "https://hub"}
EXPIRED = """\
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=another \\
    -not_before 20200101000000Z -not_after 20210101000000Z -keyout /tmp/own.key -out /tmp/own.pem
openssl genpkey -algorithm ED25519 -out /tmp/another.key"""


def test_a_hub_that_would_listen_past_its_proxy_is_told(
    bare: Bare, before: dict[str, set[str]]
) -> None:
    said = refused(bare, before, hub_listen_host="0.0.0.0")
    assert "Leave hub_listen_host out" in said


def test_a_proxy_that_could_not_listen_or_be_reached_is_told(
    bare: Bare, before: dict[str, set[str]]
) -> None:
    bare.lab.run(HUB, ["systemd-run", "-q", "--unit=taken", "python3", "-m", "http.server", "443"])
    taken = "until ss -Hltn 'sport = :443' | grep -q .; do sleep 0.1; done"
    try:
        bare.lab.run(HUB, ["sh", "-c", taken], limit_s=30.0)
        wrong = {"proxy_tls_certificate": "/nowhere.pem", "proxy_timeout_s": 60}
        said = refused(bare, before, hub_listen_host="127.0.0.1", **wrong)
    finally:
        bare.lab.run(HUB, ["systemctl", "stop", "taken.service"])
    assert "python3 (process" in said
    assert "listens on port 443 of hub already" in said
    assert "but the proxy of the group chamberlain_proxy speaks TLS" in said
    assert "hub_url names port 5000, but proxy_port is 443" in said
    assert "proxy_tls_certificate and proxy_tls_key belong together" in said
    assert "proxy_timeout_s is 60; a submit may wait 60 s" in said


def test_a_certificate_with_which_nobody_would_believe_the_proxy_is_told(
    bare: Bare, before: dict[str, set[str]]
) -> None:
    own = {"proxy_tls_certificate": "/nowhere.pem", "proxy_tls_key": "/nowhere.key"}
    said = refused(bare, before, **BEHIND, **own)
    assert "is /nowhere.pem, which is no certificate on hub" in said
    bare.lab.run(HUB, ["sh", "-euc", EXPIRED])
    own = {"proxy_tls_certificate": "/tmp/own.pem", "proxy_tls_key": "/tmp/another.key"}
    said = refused(bare, before, **BEHIND, **own)
    assert "is /tmp/own.pem, which has expired" in said
    assert "which is not for hub, the host of hub_url" in said
    assert "is /tmp/another.key, which is not the key of /tmp/own.pem" in said


def test_brokers_that_would_be_no_cluster_are_told(bare: Bare, before: dict[str, set[str]]) -> None:
    also = {"chamberlain_broker": [HUB, LOGIN]}
    done = plays.play(bare.lab, "site.yml", bare.given, "--limit", HUB, also=also)
    assert done.code != 0
    assert "The group chamberlain_broker has 2 hosts. Name one, or three" in told(done.said)
    assert 'hub_broker_host is "hub". With three brokers it must be a name' in told(done.said)
    assert files(bare.lab, HUB) == before[HUB]


def refused(bare: Bare, before: dict[str, set[str]], **given: object) -> str:
    """Play with a proxy, and return what was told before anything was changed."""
    also = {"chamberlain_proxy": [HUB]}
    done = plays.play(bare.lab, "site.yml", {**bare.given, **given}, "--limit", HUB, also=also)
    assert done.code != 0
    assert set(done.changed.values()) == {0}
    assert files(bare.lab, HUB) == before[HUB]
    return told(done.said)


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
