"""The rolled-out site where one person gets a container and the other a process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.test_site_containers import (
    GONE_S,
    PEOPLE,
    PROGRAM,
    hello,
    of_endpoint,
    restarted,
)

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import looks, rollout
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
STATE = f"/var/lib/chamberlain/{ENDPOINT}/launcher"
CHOICE = 'group_kinds = {alice = ["container", "process"], bob = "process"}'


@pytest.fixture(scope="module", autouse=True)
def choice(lab: Lab, site: Site) -> Iterator[None]:
    """Containers for everybody; alice's template may choose a process, bob has nothing else."""
    image = builds.build(Reporter(), lab)
    before = add_option_for_the_runtime(lab)
    rollout.use_containers(lab, site, engines.install(image, lab), Reporter(), engine=CHOICE)
    yield
    for file, text in before.items():
        rollout.put(lab, LOGIN, file, text, mode="0644")
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)


def add_option_for_the_runtime(lab: Lab) -> dict[str, str]:
    """Have the template take a user's RUNTIME; return what its files were before."""
    folder = f"/etc/chamberlain/{ENDPOINT}"
    template, schema = f"{folder}/user_config_template.yaml.j2", f"{folder}/user_config_schema.json"
    before = {file: lab.run(LOGIN, ["cat", file]).stdout for file in (template, schema)}
    document = json.loads(before[schema])
    document["properties"]["RUNTIME"] = {"type": "string"}
    lines = "{% if RUNTIME is defined %}\nruntime: {{ RUNTIME }}\n{% endif %}\n"
    rollout.put(lab, LOGIN, template, f"{before[template]}\n{lines}", mode="0644")
    rollout.put(lab, LOGIN, schema, json.dumps(document), mode="0644")
    return before


def user_endpoints(lab: Lab, account: str) -> dict[int, str]:
    """Return process id -> user namespace of what runs of the account's user endpoints."""
    return {
        one.pid: one.spaces["user"]
        for one in looks.look(lab).processes
        if one.account == account and one.command.endswith("chamberlain_endpoint.user.main")
    }


def first_processes(lab: Lab) -> list[str]:
    """Return the process ids of all containers, as the login node sees them."""
    words = ["podman", "inspect", "--format", "{{.State.Pid}}", *of_endpoint(lab)]
    return lab.run(LOGIN, words).stdout.split()


def test_each_runs_in_what_the_site_chose_for_them(lab: Lab, site: Site) -> None:
    for account, uid in PEOPLE.items():
        assert hello(lab, site, account)["uid"] == uid
    assert len(of_endpoint(lab)) == 1
    (alices,) = set(user_endpoints(lab, "alice").values())
    (bobs,) = set(user_endpoints(lab, "bob").values())
    ours = str(Path("/proc/self/ns/user").stat().st_ino)
    assert alices != ours == bobs


def test_the_template_chooses_among_what_the_site_lets_the_account_have(
    lab: Lab, site: Site
) -> None:
    before = of_endpoint(lab)
    assert hello(lab, site, "alice", RUNTIME="process")["uid"] == PEOPLE["alice"]
    assert of_endpoint(lab) == before
    refused = rollout.call(lab, site, rollout.person("bob"), {"RUNTIME": "container"})
    assert "the site lets your account have: process." in refused["error"]
    assert of_endpoint(lab) == before


@pytest.mark.parametrize(
    ("account", "said", "links"),
    [
        ("alice", "container, or process by template; image usual", {"container", "munge"}),
        ("bob", "process", set()),
    ],
)
def test_doctor_tells_what_an_account_gets(
    lab: Lab, account: str, said: str, links: set[str]
) -> None:
    done = lab.run(LOGIN, [PROGRAM, "doctor", ENDPOINT, "--as", account, "--json"], check=False)
    found = json.loads(done.stdout)["links"]
    (runtime,) = [one["said"] for one in found if one["link"] == "runtime"]
    assert (done.returncode, runtime) == (0, said)
    assert links <= {one["link"] for one in found if one["state"] == "good"}


def test_after_a_killed_launcher_containers_go_on_and_processes_begin_anew(
    lab: Lab, site: Site
) -> None:
    for account in PEOPLE:
        hello(lab, site, account)
    before, bobs = first_processes(lab), user_endpoints(lab, "bob")
    assert len(before) == 1
    # From now on nobody gets a container; whoever has one keeps it to its end.
    text = lab.run(LOGIN, ["cat", SETTINGS]).stdout
    without = text.replace('kind = "container"', 'kind = "process"').replace(CHOICE, "")
    rollout.put(lab, LOGIN, SETTINGS, without, mode="0644")
    try:
        restarted(lab, "launcher", "-9")
        assert wait_until(lambda: not set(user_endpoints(lab, "bob")) & set(bobs), GONE_S)
        for account, uid in PEOPLE.items():
            assert hello(lab, site, account)["uid"] == uid
        assert first_processes(lab) == before
        lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
        assert of_endpoint(lab) == []
    finally:
        rollout.put(lab, LOGIN, SETTINGS, text, mode="0644")


def test_without_a_next_launcher_the_container_ends_after_its_lease_and_nothing_is_left(
    lab: Lab, site: Site
) -> None:
    text = lab.run(LOGIN, ["cat", SETTINGS]).stdout
    rollout.put(lab, LOGIN, SETTINGS, text.replace(CHOICE, "lease_s = 5"), mode="0644")
    lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    rollout.wait_online(lab, site)
    hello(lab, site, "alice")
    assert len(of_endpoint(lab)) == 1
    supervisor = lab.run(LOGIN, ["systemctl", "show", "-P", "MainPID", ENDPOINT_UNIT]).stdout
    # It would start the next launcher.
    lab.run(LOGIN, ["kill", "-STOP", supervisor.strip()])
    try:
        lab.run(LOGIN, ["pkill", "-KILL", "-f", "chamberlain_endpoint.launcher.[m]ain"])
        assert wait_until(lambda: of_endpoint(lab) == [], GONE_S)
        # The clerk, which had outlived its launcher for this, ends with it.
        clerk = ["pgrep", "-f", "chamberlain_endpoint.launcher.runtime.[c]lerk"]
        assert wait_until(lambda: lab.run(LOGIN, clerk, check=False).stdout == "", GONE_S)
        assert user_endpoints(lab, "alice") == {}
        assert lab.run(LOGIN, ["ls", f"{STATE}/containers/leases"]).stdout == ""
    finally:
        lab.run(LOGIN, ["kill", "-CONT", supervisor.strip()])
        rollout.put(lab, LOGIN, SETTINGS, text, mode="0644")
    assert wait_until(lambda: rollout.status(lab, site) == "online", GONE_S)
    assert hello(lab, site, "alice")["uid"] == PEOPLE["alice"]
