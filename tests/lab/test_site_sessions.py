"""The rolled-out site with a session of PAM around each person's container."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.lab.test_site_containers import GONE_S, PEOPLE, PROGRAM, hello, of_endpoint, restarted

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT, Site
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
SETTINGS = f"/etc/chamberlain/{ENDPOINT}/launcher.toml"
LIMITS = "/etc/security/limits.d/chamberlain.conf"
NOTICE = "/etc/nologin"
HOLDERS = ["pgrep", "-f", "chamberlain_endpoint.launcher.runtime.[h]older"]
SESSIONS = f"/var/lib/chamberlain/{ENDPOINT}/launcher/containers/sessions"

OPEN_FILES = """\
def hello():
    import os, resource
    return {"uid": os.getuid(), "files": resource.getrlimit(resource.RLIMIT_NOFILE)}
"""


@pytest.fixture(scope="module", autouse=True)
def sessions(lab: Lab, site: Site) -> Iterator[None]:
    """Containers for everybody, with the service file that the product brings."""
    image = builds.build(Reporter(), lab)
    rollout.write_runtime(lab, engines.install(image, lab))
    text = lab.run(LOGIN, ["cat", SETTINGS]).stdout
    changed = text.replace("\nenable = false\nservice =", "\nenable = true\nservice =")
    assert changed != text
    rollout.put(lab, LOGIN, SETTINGS, changed, mode="0644")
    lab.run(LOGIN, [PROGRAM, "pam-service", "--install"])
    rollout.put(lab, LOGIN, LIMITS, "alice soft nofile 1234\nalice hard nofile 2345\n", mode="0644")
    (lab.share / "open_files.py").write_text(OPEN_FILES)
    lab.run(LOGIN, [PROGRAM, "check-config", ENDPOINT])
    lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    rollout.wait_online(lab, site)
    yield
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    lab.run(LOGIN, ["rm", "-f", LIMITS, NOTICE])


def holders(lab: Lab) -> list[str]:
    return lab.run(LOGIN, HOLDERS, check=False).stdout.split()


def audited(lab: Lab, account: str) -> list[dict[str, str]]:
    words = [PROGRAM, "audit", "show", ENDPOINT, "--account", account, "--json"]
    lines: list[dict[str, str]] = json.loads(lab.run(LOGIN, words).stdout)["lines"]
    return lines


def test_a_person_has_the_sites_limits(lab: Lab, site: Site) -> None:
    assert hello(lab, site, "alice", "open_files.py") == {
        "uid": PEOPLE["alice"],
        "files": [1234, 2345],
    }
    assert (len(of_endpoint(lab)), len(holders(lab))) == (1, 1)
    opened = [one["reason"] for one in audited(lab, "alice") if one["action"] == "session"]
    assert opened == ["PAM service chamberlain-endpoint"]


def test_who_may_not_come_in_now_reads_why(lab: Lab, site: Site) -> None:
    rollout.put(lab, LOGIN, NOTICE, "Maintenance until noon.\n", mode="0644")
    before = of_endpoint(lab)
    refused = rollout.call(lab, site, rollout.person("bob"), {})
    lab.run(LOGIN, ["rm", NOTICE])
    said = "The site does not let this account in now: Maintenance until noon."
    assert said in refused["error"]
    assert of_endpoint(lab) == before
    assert len(holders(lab)) == len(before)


def test_after_a_killed_launcher_container_and_session_go_on(lab: Lab, site: Site) -> None:
    hello(lab, site, "alice")
    before = of_endpoint(lab), holders(lab)
    restarted(lab, "launcher", "-9")
    assert hello(lab, site, "alice")["uid"] == PEOPLE["alice"]
    assert (of_endpoint(lab), holders(lab)) == before


def test_a_killed_holder_takes_its_container_along_and_the_next_one_has_a_session(
    lab: Lab, site: Site
) -> None:
    hello(lab, site, "alice")
    (holder,) = holders(lab)
    before = of_endpoint(lab)
    lab.run(LOGIN, ["kill", "-9", holder])
    assert wait_until(lambda: of_endpoint(lab) == [], GONE_S)
    assert audited(lab, "alice")[-1]["reason"].endswith("its holder was killed")
    assert hello(lab, site, "alice")["uid"] == PEOPLE["alice"]
    assert (of_endpoint(lab) != before, len(holders(lab))) == (True, 1)


def test_a_stopped_endpoint_leaves_no_session(lab: Lab, site: Site) -> None:
    for account in PEOPLE:
        hello(lab, site, account)
    assert len(holders(lab)) == len(PEOPLE)
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    assert (of_endpoint(lab), holders(lab)) == ([], [])
    assert lab.run(LOGIN, ["ls", SESSIONS]).stdout == ""
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    rollout.wait_online(lab, site)
