"""The hub's image: nobody's, read-only, without network while it is built; and it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import furnish
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import put
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

UID = "10001"
VHOST = "of-the-container"
PORT = 5055
NAME = "test-hub"
SETTINGS = "/etc/chamberlain/hub-of-the-container.toml"
VOLUME = f"{NAME}-data"


@pytest.fixture(scope="module")
def hub(lab: Lab) -> Iterator[str]:
    """The hub in a container on the login node, with a virtual host of its own at the broker."""
    image = engines.load(builds.build(Reporter(), lab, builds.HUB), lab)
    login = f"{furnish.BROKER_USER}:{quote(lab.facts.broker_password)}"
    settings = {
        "listen_port": PORT,
        "broker_url": f"amqp://{login}@{HUB}:5672/{VHOST}",
        "broker_management_url": f"http://{login}@{HUB}:15672",
        "metrics_listen": "",
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    put(lab, LOGIN, SETTINGS, text)
    lab.run(LOGIN, ["chown", f"{UID}:{UID}", SETTINGS])
    lab.run(HUB, ["rabbitmqctl", "-q", "add_vhost", VHOST])
    allowed = ["-p", VHOST, furnish.BROKER_USER, ".*", ".*", ".*"]
    lab.run(HUB, ["rabbitmqctl", "-q", "set_permissions", *allowed])
    try:
        lab.run(
            LOGIN,
            [
                *("podman", "run", "--detach", "--name", NAME, "--network=host", "--read-only"),
                *("--cap-drop=all", "--security-opt=no-new-privileges"),
                f"--volume={SETTINGS}:/etc/chamberlain/hub.toml:ro",
                *(f"--volume={VOLUME}:/var/lib/chamberlain-hub", image),
            ],
        )
        up = ["curl", "-sf", "--retry", "300", "--retry-connrefused", "--retry-delay", "0"]
        url = f"http://127.0.0.1:{PORT}"
        lab.run(LOGIN, [*up, "--retry-max-time", "60", "-o", "/dev/null", f"{url}/v2/version"])
        yield url
    finally:
        lab.run(LOGIN, ["podman", "rm", "--force", "--time=10", "--ignore", NAME], check=False)
        lab.run(LOGIN, ["podman", "volume", "rm", "--force", VOLUME], check=False)
        lab.run(HUB, ["rabbitmqctl", "-q", "delete_vhost", VHOST], check=False)


def inside(lab: Lab, *words: str) -> str:
    return lab.run(LOGIN, ["podman", "exec", NAME, "chamberlain-hub", *words]).stdout


def test_people_and_their_tokens_live_in_it_across_a_restart(lab: Lab, hub: str) -> None:
    inside(lab, "user", "add", "carol@example.edu")
    token = json.loads(inside(lab, "token", "create", "carol@example.edu", "--json"))["token"]
    login = ["-H", f"Authorization: Bearer {token}"]
    assert json.loads(lab.run(LOGIN, ["curl", "-sf", *login, f"{hub}/v2/endpoints"]).stdout) == []
    lab.run(LOGIN, ["podman", "restart", "--time=10", NAME])
    again = [
        "--retry",
        "300",
        "--retry-connrefused",
        "--retry-delay",
        "0",
        "--retry-max-time",
        "60",
    ]
    lab.run(LOGIN, ["curl", "-sf", *again, *login, f"{hub}/v2/endpoints"])
    (carol,) = json.loads(inside(lab, "user", "list", "--json"))["identities"]
    assert carol["username"] == "carol@example.edu"


def test_it_runs_as_nobody_and_writes_its_volume_alone(lab: Lab, hub: str) -> None:
    look = (
        "import os,pathlib\n"
        "print(os.getuid(), [l.split()[1] for l in open('/proc/self/status') if 'CapEff' in l])\n"
        "pathlib.Path('/opt/chamberlain/new').touch()"
    )
    python = "/opt/chamberlain/bin/python"
    done = lab.run(LOGIN, ["podman", "exec", NAME, python, "-c", look], check=False)
    assert done.stdout.split("\n")[0] == f"{UID} ['0000000000000000']"
    assert "Read-only file system" in done.stderr
    kept = lab.run(LOGIN, ["podman", "exec", NAME, "ls", "/var/lib/chamberlain-hub"]).stdout
    assert "hub.db" in kept


def test_it_stops_by_a_signal_and_says_so(lab: Lab, hub: str) -> None:
    lab.run(LOGIN, ["podman", "stop", "--time=20", NAME])
    ended = lab.run(LOGIN, ["podman", "inspect", "--format", "{{.State.ExitCode}}", NAME]).stdout
    assert ended.strip() == "0"
