"""One virtual machine for all tests of the group: the login node of a site.

Hub and broker are this machine's own, of the test session; the virtual one sees their ports.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.image import build as builds
from devtools.lab import rollout
from devtools.lab.rollout import ENDPOINT, ENDPOINT_UNIT
from devtools.lab.software import WHERE
from devtools.paths import PYTHON, ROOT
from devtools.processes import wait_until
from devtools.programs import Programs
from devtools.say import Reporter
from devtools.site import Plan, Site, identity_mapping
from devtools.vm import root
from devtools.vm.machine import Machine

LIMITS = """\
memory_mib = 768
cpus = 1.5
pids = 300
[runtime.account_limits.alice]
memory_mib = 600
cpus = 1.0
pids = 150
"""
"""Bob has what everybody has, alice her own."""
PEOPLE = {rollout.person(name): name for name in root.PLAN.accounts}
PROGRAMS = f"{WHERE}/bin"
ONLINE_S = 600.0
MOST_S = 600.0


@dataclass(frozen=True, slots=True)
class Place:
    """A machine with an endpoint on it, and the hub outside."""

    machine: Machine
    hub: Site
    endpoint: str

    def call(self, account: str, play: str, **options: object) -> dict[str, Any]:
        """Run a function of `plays` as `account`, through the SDK; return what became of it."""
        question = {
            "example": f"/srv/lab/{play}.py",
            "endpoint": self.endpoint,
            "options": options,
            "limit_s": MOST_S,
        }
        # There, for functions go by value to the same Python.
        given = {
            "HOME": "/tmp",
            "CHAMBERLAIN_HUB_URL": self.hub.hub_url,
            "CHAMBERLAIN_TOKEN": self.hub.tokens[rollout.person(account)],
        }
        words = ["env", *(f"{key}={value}" for key, value in given.items())]
        program = [f"{PROGRAMS}/python", "/srv/lab/demo_caller.py"]
        done = self.machine.run(
            [*words, *program], user="nobody", given=json.dumps(question), limit_s=MOST_S
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def is_online(self) -> bool:
        """Tell whether the hub sees the endpoint."""
        told = self.hub.get(f"/v2/endpoints/{self.endpoint}/status", next(iter(PEOPLE)))
        return isinstance(told, dict) and told.get("status") == "online"


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config) -> Iterator[Place]:
    """The endpoint, online, with a container for each person. Tells how far it is."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with tempfile.TemporaryDirectory(prefix="chvm-", dir="/var/tmp") as name:
        folder = Path(name)
        hub = Site(
            folder / "hub",
            Programs(Path(PYTHON).parent.parent),
            Plan(multi=True, people=PEOPLE, owner=next(iter(PEOPLE))),
        )
        with capture.global_and_fixture_disabled():
            made = _boot(hub, folder)
        try:
            yield made
        finally:
            made.machine.end()
            hub.stop()
    assert not made.machine.is_running


def _boot(hub: Site, folder: Path) -> Place:
    report = Reporter()
    report.line("")
    folder.chmod(0o755)
    image = builds.build(report, None)
    known: dict[str, str] = {}

    def finish(made: Path) -> None:
        for file in (ROOT / "devtools/demo_caller.py", *(ROOT / "tests/vm/plays").glob("*.py")):
            shutil.copy(file, made / "srv/lab")
        known.update(_configure(made, hub, str(image.about["digest"])))

    machine = None
    try:
        hub.start_services(report)
        disk = root.disk(image, folder, finish, report)
        urls = (hub.hub_url, hub.rabbit.amqp_url)
        ports = [urllib.parse.urlsplit(url).port or 0 for url in urls]
        machine = Machine(disk, folder, report, ports)
        machine.start()
        place = Place(machine, hub, known["endpoint_id"])
        with report.step("Starting the endpoint there"):
            machine.run(["systemctl", "start", ENDPOINT_UNIT])
            assert wait_until(place.is_online, ONLINE_S), machine.last_words
    except BaseException:
        if machine is not None:
            machine.end()
        hub.stop()
        raise
    return place


def _configure(made: Path, hub: Site, digest: str) -> Mapping[str, str]:
    """Configure the endpoint on the machine's disk; the hub is as near as it will be."""
    mapping = made / "root/identity_mapping.json"
    mapping.write_text(json.dumps([identity_mapping(PEOPLE)]))
    owner = next(iter(PEOPLE))
    words = [f"{PROGRAMS}/chamberlain-endpoint", "configure", ENDPOINT, "--multi-user", "true"]
    words += ["--hub", hub.hub_url, "--token-file", "-", "--contact-email", owner]
    words += ["--id-mapping-config", "/root/identity_mapping.json", "--json"]
    told: dict[str, str] = json.loads(root.run(made, words, given=hub.tokens[owner]))
    settings = made / f"etc/chamberlain/{ENDPOINT}/launcher.toml"
    settings.write_text(rollout.with_runtime(settings.read_text(), digest, limits=LIMITS))
    root.run(made, [f"{PROGRAMS}/chamberlain-endpoint", "enable-on-boot", ENDPOINT, "--json"])
    wanted = made / f"etc/systemd/system/multi-user.target.wants/{ENDPOINT_UNIT}"
    # Only when the way to the hub is open.
    wanted.unlink(missing_ok=True)
    return told
