"""A site from our Debian packages: rolled out, upgraded while people work, and taken away.

In this order: the last test takes everything away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.ansible.conftest import Bare, files
from tests.ansible.submitting import submitting
from tests.ansible.test_rollout import differences, processes
from tests.lab.packages.conftest import RELEASE, as_revision

from devtools.lab import rollout
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.plays import Play
from devtools.lab.rollout import Site
from devtools.package import build, release, repository
from devtools.paths import ROOT
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.needs_packages,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
]
HOSTS = (HUB, LOGIN, "node1")
UNITS = {
    HUB: ["chamberlain-hub.service"],
    LOGIN: ["chamberlain-launcher@cluster.service", "chamberlain-endpoint@cluster.service"],
}
ALICE = "alice@example.edu"
OF_HUB = "/opt/chamberlain/hub"


@dataclass(frozen=True, slots=True)
class Packaged:
    """A site from packages.

    Attributes:
        bare: plays with the repository that has the older packages.
        later: a repository with later ones, and the same key.
        before: host -> its files before.
    """

    bare: Bare
    later: Path
    before: dict[str, set[str]]
    first: Play
    site: Site


@pytest.fixture(scope="module")
def packaged(bare: Bare, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packaged]:
    folder = tmp_path_factory.mktemp("packages")
    wheel = build.build_wheel(RELEASE, folder, Reporter())
    debs = [
        build.build_deb(part, "13", wheel, RELEASE, folder, Reporter()) for part in release.PARTS
    ]
    first, later = folder / "first", folder / "later"
    repository.make(first, debs, RELEASE, None)
    newer = [as_revision(deb, "2", folder) for deb in debs]
    repository.make(later, newer, RELEASE, repository.beside(first))
    given = {"software_source": "packages", "software_repository": str(first)}
    ours = replace(bare, given={**bare.given, **given, "endpoint_drain_s": 300})
    before = {name: files(bare.lab, name) for name in HOSTS}
    done = ours.play("site.yml")
    assert done.code == 0, done.said[-6000:]
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        shutil.copyfile(ROOT / source, bare.lab.share / Path(source).name)
    listed = json.loads(bare.lab.run(LOGIN, ["chamberlain-endpoint", "list", "--json"]).stdout)
    tokens = rollout.make_tokens(bare.lab, [ALICE], programs=f"{OF_HUB}/bin")
    yield Packaged(ours, later, before, done, Site(listed["endpoints"][0]["endpoint_id"], tokens))
    # Those that come after us find the hosts as they were, also when a test failed.
    ours.play("uninstall.yml", "-e", "purge=true")


def test_a_second_run_changes_nothing(packaged: Packaged) -> None:
    second = packaged.bare.play("site.yml")
    assert second.code == 0, second.said[-6000:]
    assert second.changed == dict.fromkeys(HOSTS, 0), second.said


def test_an_upgrade_under_load_fails_no_task(packaged: Packaged) -> None:
    lab, site = packaged.bare.lab, packaged.site
    before = {unit: pid(packaged, host, unit) for host in UNITS for unit in UNITS[host]}
    later = str(packaged.later)
    with submitting(lab, site.endpoint_id, site.tokens[ALICE], OF_HUB) as answer:
        done = packaged.bare.play("upgrade.yml", software_repository=later)
    assert done.code == 0, done.said[-6000:]
    seen = answer.result()
    assert seen["faults"] == []
    assert seen["tasks"] > 50
    assert "user endpoints finish their tasks, of alice" in " ".join(done.said.split())
    for host in HOSTS:
        name = "chamberlain-hub" if host == HUB else "chamberlain-endpoint"
        said = lab.run(host, ["dpkg-query", "-W", name]).stdout.split()
        assert said[1] == f"{RELEASE.version}-2~deb13"
    for host, units in UNITS.items():
        for unit in units:
            assert pid(packaged, host, unit) not in (0, before[unit]), unit


def test_health_finds_nothing_bad(packaged: Packaged) -> None:
    good = packaged.bare.play("health.yml")
    assert (good.code, set(good.changed.values())) == (0, {0}), good.said


def test_what_is_taken_away_leaves_nothing(packaged: Packaged) -> None:
    done = packaged.bare.play("uninstall.yml", "-e", "purge=true")
    assert done.code == 0, done.said[-6000:]
    for name in HOSTS:
        left = differences(packaged.before[name], files(packaged.bare.lab, name))
        assert left == [], name
        assert processes(packaged.bare.lab, name) == ""


def pid(packaged: Packaged, host: str, unit: str) -> int:
    """Return the main process of `unit`; 0 when it does not run."""
    words = ["systemctl", "show", "--property=MainPID", "--value", unit]
    return int(packaged.bare.lab.run(host, words).stdout)
