"""`backup`, `restore` and `trust` of an endpoint, as a person runs them."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest
from tests.integration.cli.conftest import ENDPOINT, KEY, TOKEN, Run

from chamberlain_endpoint.launcher import config
from devtools.programs import Programs

OTHER = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def kept(cluster: Path, run: Run, tmp_path: Path) -> Path:
    """A backup of the endpoint `cluster`."""
    file = tmp_path / "cluster.tar"
    told = run("backup", "cluster", file, "--json").document
    assert (told["endpoint_id"], "token" in told["files"]) == (ENDPOINT, True)
    return file


def test_a_backup_is_private_and_replaces_nothing(kept: Path, run: Run) -> None:
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    before = kept.read_bytes()
    ran = run("backup", "cluster", kept)
    assert (ran.code, kept.read_bytes()) == (1, before)
    assert "exists already" in ran.err


def test_nothing_of_it_is_said(cluster: Path, run: Run, tmp_path: Path) -> None:
    ran = run("backup", "cluster", tmp_path / "a.tar")
    assert ran.code == 0
    assert TOKEN not in ran.out + ran.err


def test_an_endpoint_that_is_there_is_not_replaced(kept: Path, cluster: Path, run: Run) -> None:
    (cluster / "config.yaml").write_text("mine: true\n")
    ran = run("restore", "cluster", kept)
    assert ran.code == 1
    assert "exists already. Nothing was changed." in ran.err
    assert (cluster / "config.yaml").read_text() == "mine: true\n"


def test_a_damaged_backup_makes_nothing(kept: Path, cluster: Path, run: Run) -> None:
    cluster.rename(cluster.with_name("elsewhere"))
    kept.write_bytes(kept.read_bytes().replace(TOKEN.encode(), TOKEN.upper().encode()))
    ran = run("restore", "cluster", kept)
    assert ran.code == 1
    assert "is damaged: token" in ran.err
    assert not cluster.exists()


def test_files_with_which_it_would_not_start_are_not_left(
    cluster: Path, run: Run, tmp_path: Path
) -> None:
    toml = cluster / "launcher.toml"
    file = tmp_path / "cluster.tar"
    assert run("backup", "cluster", file).code == 0
    # Its folders belong to a place that is not there; the judges say so.
    cluster.rename(cluster.with_name("elsewhere"))
    ran = run("restore", "cluster", file)
    assert (ran.code, toml.exists()) == (1, False) if IS_ROOT else (0, True), ran.err


@pytest.mark.needs_root
def test_as_root_an_endpoint_comes_back_with_its_id_and_its_modes(
    tmp_path: Path, programs: Programs
) -> None:
    """In root's own folders, in a mount namespace of its own."""
    script = f"""
set -eu
mount --make-rprivate /
for folder in /etc/chamberlain /var/lib/chamberlain /var/log/chamberlain /run/chamberlain; do
    mkdir -p $folder; mount -t tmpfs -o mode=0755 none $folder
done
cd /
program={programs.endpoint}
printf %s '{TOKEN}' | $program configure bk --multi-user true --hub http://127.0.0.1:9 \
    --token-file - --contact-email hpc@example.edu --hub-key-file {tmp_path}/keys >/dev/null
stat -c '%n %a %U:%G' /etc/chamberlain/bk/* > {tmp_path}/before
sha256sum /etc/chamberlain/bk/* >> {tmp_path}/before
$program backup bk {tmp_path}/bk.tar >/dev/null
rm -r /etc/chamberlain/bk /var/lib/chamberlain/bk
$program restore bk {tmp_path}/bk.tar --json
stat -c '%n %a %U:%G' /etc/chamberlain/bk/* > {tmp_path}/after
sha256sum /etc/chamberlain/bk/* >> {tmp_path}/after
$program restore other {tmp_path}/bk.tar && exit 7
exit 0
"""
    (tmp_path / "keys").write_text(KEY + "\n")
    had_account = any(entry.pw_name == "chamberlain" for entry in pwd.getpwall())
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert told["name"] == "bk"
        before = (tmp_path / "before").read_text()
        assert (tmp_path / "after").read_text() == before
        assert "/etc/chamberlain/bk/token 640 root:chamberlain" in before
        assert "give it that name" in done.stderr
    finally:
        if not had_account:
            subprocess.run(["userdel", "chamberlain"], check=False, capture_output=True)


def test_trust_replaces_the_keys_and_nothing_else(cluster: Path, run: Run) -> None:
    toml = cluster / "launcher.toml"
    before, mode = toml.read_text(), toml.stat().st_mode
    told = run("trust", "cluster", "--hub-key-file", "-", "--json", given=f"{KEY}\n{OTHER} # x\n")
    assert (told.document["changed"], told.document["manager_told"]) == (True, False)
    settings = config.parse(toml.read_bytes())
    assert len(settings.hub_keys) == 2
    assert toml.read_text().replace(f', "{OTHER}"', "") == before
    assert toml.stat().st_mode == mode
    told = run("trust", "cluster", "--hub-key-file", "-", "--json", given=OTHER)
    assert told.document["hub_keys"] == [OTHER]
    assert len(config.parse(toml.read_bytes()).hub_keys) == 1
    again = run("trust", "cluster", "--hub-key-file", "-", "--json", given=OTHER)
    assert again.document["changed"] is False
    assert [path.name for path in cluster.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("given", ["", "# nothing\n", "rubbish\n"])
def test_trust_refuses_what_is_no_key(cluster: Path, run: Run, given: str) -> None:
    before = (cluster / "launcher.toml").read_text()
    ran = run("trust", "cluster", "--hub-key-file", "-", given=given)
    assert ran.code == 1
    assert "key" in ran.err
    assert (cluster / "launcher.toml").read_text() == before
