"""A site's life on booted hosts: rolled out, rolled out again, changed, used, and taken away."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ansible import keeping
from tests.ansible.conftest import Bare, files

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.plays import Play
from devtools.lab.rollout import Site
from devtools.paths import ROOT
from devtools.site import identity_mapping

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
PROGRAM = "/opt/chamberlain/bin/chamberlain-endpoint"
UNIT = "chamberlain-endpoint-cluster"
DAEMONS = "chamberlain_endpoint.(launcher|manager).main"
ONLY_ALICE = [identity_mapping({"alice@example.edu": "alice"})]
HOSTS = (HUB, LOGIN, "node1")


@dataclass(frozen=True, slots=True)
class Made:
    """A site that was rolled out.

    Attributes:
        before: host -> its files before.
        checked, first: the runs that led to it.
    """

    bare: Bare
    before: dict[str, set[str]]
    checked: Play
    first: Play
    site: Site


@pytest.fixture(scope="module")
def made(bare: Bare) -> Iterator[Made]:
    before = {name: files(bare.lab, name) for name in HOSTS}
    checked = bare.play("site.yml", "--check", "--diff", endpoint_mapping=ONLY_ALICE)
    assert checked.code == 0, checked.said[-6000:]
    assert {name: files(bare.lab, name) for name in HOSTS} == before
    # All that Ansible can be made to say: no secret may be in it.
    first = bare.play("site.yml", "--diff", "-vvv", endpoint_mapping=ONLY_ALICE)
    assert first.code == 0, first.said[-6000:]
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        shutil.copyfile(ROOT / source, bare.lab.share / Path(source).name)
    listed = json.loads(bare.lab.run(LOGIN, [PROGRAM, "list", "--json"]).stdout)
    (row,) = listed["endpoints"]
    tokens = rollout.make_tokens(bare.lab, ["alice@example.edu", "bob@example.edu"])
    yield Made(bare, before, checked, first, Site(row["endpoint_id"], tokens))
    # Those that come after us find the hosts as they were, also when a test failed.
    bare.play("uninstall.yml", "-e", "purge=true")


def test_check_mode_on_blank_hosts_says_what_it_would_do(made: Made) -> None:
    assert made.checked.changed["login"] > 0
    assert "RuntimeDirectoryPreserve=yes" in made.checked.said


def test_no_secret_is_in_what_ansible_says(made: Made) -> None:
    password = made.bare.lab.run(HUB, ["cat", "/etc/rabbitmq/chamberlain-password"]).stdout.strip()
    token = made.bare.lab.run(LOGIN, ["cat", "/etc/chamberlain/cluster/token"]).stdout.strip()
    assert len(password) >= 32
    assert len(token) >= 32
    assert password not in made.first.said
    assert token not in made.first.said


def test_secrets_are_in_files_that_nobody_else_reads(made: Made) -> None:
    for host, path, mode in (
        (HUB, "/etc/rabbitmq/chamberlain-password", "600 root:root"),
        (HUB, "/etc/chamberlain/hub.toml", "640 root:chamberlain-hub"),
        (LOGIN, "/etc/chamberlain/cluster/token", "640 root:chamberlain"),
        (LOGIN, "/etc/chamberlain/cluster/launcher.toml", "600 root:root"),
    ):
        assert made.bare.lab.run(host, ["stat", "-c", "%a %U:%G", path]).stdout.strip() == mode


def test_a_second_run_changes_nothing(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    second = made.bare.play("site.yml", endpoint_mapping=ONLY_ALICE)
    assert second.code == 0, second.said[-6000:]
    assert second.changed == dict.fromkeys(HOSTS, 0), second.said
    times = f"first run {made.first.took_s:.0f} s (target 240), second {second.took_s:.0f} s (40)"
    with capsys.disabled():
        print(f"\n{times}")


def test_hello_as_alice_in_a_container(made: Made) -> None:
    answer = rollout.call(made.bare.lab, made.site, "alice@example.edu", {})
    assert answer["error"] is None
    said = answer["result"]
    assert (said["username"], said["uid"]) == ("alice", 1001)
    listed = made.bare.lab.run(LOGIN, ["podman", "ps", "--format", "{{.Names}}"]).stdout.split()
    assert len(listed) == 1


def test_a_changed_mapping_is_taken_without_a_restart(made: Made) -> None:
    lab = made.bare.lab
    assert rollout.call(lab, made.site, "bob@example.edu", {})["error"] is not None
    daemons = lab.run(LOGIN, ["pgrep", "-f", DAEMONS]).stdout
    both = [identity_mapping({f"{name}@example.edu": name for name in ("alice", "bob")})]
    done = made.bare.play("site.yml", "--limit", LOGIN, endpoint_mapping=both)
    assert (done.code, done.changed) == (0, {LOGIN: 1}), done.said
    answer = rollout.call(lab, made.site, "bob@example.edu", {})
    assert (answer["error"], answer["result"]["username"]) == (None, "bob")
    after = lab.run(LOGIN, ["pgrep", "-f", DAEMONS]).stdout
    assert daemons == after


def test_files_with_which_the_endpoint_would_not_start_replace_none(made: Made) -> None:
    lab = made.bare.lab
    folder = "/etc/chamberlain/cluster"
    before = lab.run(LOGIN, ["sh", "-c", f"sha256sum {folder}/*"]).stdout
    done = made.bare.play("site.yml", "--limit", LOGIN, endpoint_policy={"min_uidd": 1000})
    assert done.code != 0
    assert f"{folder}/launcher.toml" in done.said
    assert "min_uidd" in done.said
    assert lab.run(LOGIN, ["sh", "-c", f"sha256sum {folder}/*"]).stdout == before


def test_health_shows_a_line_for_each_host_and_names_what_is_bad(made: Made) -> None:
    good = made.bare.play("health.yml")
    assert (good.code, set(good.changed.values())) == (0, {0}), good.said
    for name in HOSTS:
        assert f"{name}: debian 13" in good.said
    made.bare.lab.run("node1", ["systemctl", "stop", "munge.service"])
    try:
        bad = made.bare.play("health.yml")
    finally:
        made.bare.lab.run("node1", ["systemctl", "start", "munge.service"])
    assert bad.code != 0
    assert "munge.service is not active" in " ".join(bad.said.split())


@pytest.mark.parametrize(("host", "unit"), [(HUB, "chamberlain-hub"), (LOGIN, UNIT)])
def test_each_unit_is_closed(made: Made, host: str, unit: str) -> None:
    words = ["systemd-analyze", "security", "--no-pager", f"{unit}.service"]
    said = made.bare.lab.run(host, words).stdout.splitlines()[-1]
    exposure = float(said.split("service:")[1].split()[0])
    assert exposure <= 3.0, said


def test_what_systemd_runs_is_stopped_and_started_by_it(made: Made) -> None:
    lab = made.bare.lab

    def state() -> str:
        show = ["systemctl", "show", "--property=ActiveState,NRestarts", "--value", UNIT]
        return " ".join(sorted(lab.run(LOGIN, show).stdout.split()))

    lab.run(LOGIN, [PROGRAM, "stop", "cluster"])
    assert state() == "0 inactive"
    assert lab.run(LOGIN, ["pgrep", "-f", DAEMONS], check=False).stdout == ""
    lab.run(LOGIN, ["systemctl", "start", UNIT])
    lab.run(LOGIN, [PROGRAM, "restart", "cluster"])
    assert state() == "0 active"
    answer = rollout.call(lab, made.site, "alice@example.edu", {})
    assert (answer["error"], answer["result"]["username"]) == (None, "alice")


def test_new_keys_while_a_task_runs(made: Made) -> None:
    lab, site = made.bare.lab, made.site
    old = keeping.secrets_of(lab)
    with keeping.task_that_lasts(lab, site, "alice") as came:
        containers = _containers(lab)
        done = made.bare.play("rotate-keys.yml", "--diff", "-vvv")
        assert done.code == 0, done.said[-6000:]
        # Nothing that ran has ended: no user endpoint noticed.
        assert (came, _containers(lab)) == ([], containers)
    assert [(one["error"], one["result"]) for one in came] == [(None, {"username": "alice"})]
    new = keeping.secrets_of(lab)
    assert keeping.believed(lab) == list(new.hub_keys)
    assert set(new.hub_keys).isdisjoint(old.hub_keys)
    codes = keeping.status_of_token(lab, old.token), keeping.status_of_token(lab, new.token)
    assert codes == ("401", "200")
    codes = (
        keeping.status_of_password(lab, old.broker),
        keeping.status_of_password(lab, new.broker),
    )
    assert codes == ("401", "200")
    for secret in (old.token, old.broker, new.token, new.broker):
        assert secret not in done.said
    # A user endpoint that is not there yet: the new key signs its start.
    keeping.stop_user_endpoints(lab)
    answer = rollout.call(lab, site, "bob@example.edu", {})
    assert (answer["error"], answer["result"]["username"]) == (None, "bob")


@pytest.fixture(scope="module")
def kept(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the site, encrypted."""
    folder = tmp_path_factory.mktemp("kept")
    password = folder / "password"
    password.write_text("of the backup\n")
    plain, file = folder / "plain.tar", folder / "site.tar"
    secret = keeping.secrets_of(made.bare.lab)
    for path, key in ((plain, ""), (file, str(password))):
        done = made.bare.play(
            "backup.yml", "--diff", "-vvv", backup_file=str(path), backup_key_file=key
        )
        assert done.code == 0, done.said[-6000:]
        assert secret.broker not in done.said
        assert secret.token not in done.said
    return file


def test_a_backup_is_one_private_file_that_says_what_is_in_it(made: Made, kept: Path) -> None:
    plain = kept.with_name("plain.tar")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (plain, kept)} == {0o600}
    assert kept.read_bytes().startswith(b"$ANSIBLE_VAULT")
    assert {path.name for path in kept.parent.iterdir()} == {"plain.tar", "site.tar", "password"}
    listed = keeping.manifest(plain)
    endpoint = {"host": LOGIN, "name": "cluster", "endpoint_id": made.site.endpoint_id}
    assert listed["endpoints"] == [{**endpoint, "member": "endpoint-login-cluster.tar"}]
    members = {"hub.tar", "hub.toml", "broker-password", "broker-definitions.json"}
    assert set(listed["members"]) == {*members, "endpoint-login-cluster.tar"}
    for name in (HUB, LOGIN):
        found = made.bare.lab.run(name, ["find", "/tmp", "/var/lib", "-name", "*.tar"]).stdout
        assert "backup" not in found


def test_what_is_taken_away_leaves_nothing(made: Made, kept: Path) -> None:
    done = made.bare.play("uninstall.yml", "-e", "purge=true")
    assert done.code == 0, done.said[-6000:]
    for name in HOSTS:
        left = differences(made.before[name], files(made.bare.lab, name))
        assert left == [], name
        assert processes(made.bare.lab, name) == ""


def test_a_backup_that_cannot_be_used_changes_nothing(made: Made, kept: Path) -> None:
    plain, damaged = kept.with_name("plain.tar"), kept.with_name("damaged.tar")
    content = bytearray(plain.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for file, sentence in (
        (kept.with_name("none.tar"), "which cannot be read: No such file"),
        (damaged, "is damaged: what is in it is not what was put in"),
        (kept, "is encrypted: name the file of its password"),
        (keeping.of_version(plain, "9.0.0"), "was made by version 9.0.0, and"),
    ):
        done = made.bare.play("restore.yml", backup_file=str(file))
        assert done.code != 0
        assert sentence in " ".join(done.said.split())
        assert set(done.changed.values()) == {0}


def test_blank_hosts_become_the_site_that_was_kept(made: Made, kept: Path) -> None:
    lab, site = made.bare.lab, made.site
    given = {"backup_file": str(kept), "backup_key_file": str(kept.with_name("password"))}
    done = made.bare.play("restore.yml", "--diff", "-vvv", **given)
    assert done.code == 0, done.said[-6000:]
    (row,) = json.loads(lab.run(LOGIN, [PROGRAM, "list", "--json"]).stdout)["endpoints"]
    assert row["endpoint_id"] == site.endpoint_id
    secret = keeping.secrets_of(lab)
    assert keeping.believed(lab) == list(secret.hub_keys)
    assert secret.broker not in done.said
    assert secret.token not in done.said
    # The same id, and the token that alice has had all the time.
    answer = rollout.call(lab, site, "alice@example.edu", {})
    assert (answer["error"], answer["result"]["username"]) == (None, "alice")
    again = made.bare.play("restore.yml", **given)
    assert again.code != 0
    assert "hub is not blank" in " ".join(again.said.split())
    assert set(again.changed.values()) == {0}


def _containers(lab: Lab) -> list[str]:
    return sorted(lab.run(LOGIN, ["podman", "ps", "--format", "{{.Names}}"]).stdout.split())


def processes(lab: Lab, host: str) -> str:
    """Return what runs of ours, of RabbitMQ and of containers."""
    return lab.run(
        host, ["pgrep", "-af", "[c]hamberlain|[r]abbit|[e]pmd|[c]onmon"], check=False
    ).stdout


# Old copies that Debian's tools keep of account files, and the links of System V's init, which
# systemctl keeps for services that still have a script for it, and its own empty folders; apt's.
_KEPT = re.compile(
    r"/etc/((passwd|group|shadow|gshadow|subuid|subgid)-$|rc.\.d/|systemd/system/[a-z-]+\.target\.wants$)"
    r"|/var/lib/apt/lists/(lock|auxfiles)$"
)


def differences(before: set[str], after: set[str]) -> list[str]:
    """Return what was added to, taken from or changed in the files of a host."""
    return sorted(line for line in before ^ after if not any(map(_KEPT.match, line.split())))
