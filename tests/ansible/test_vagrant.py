"""The Vagrantfile, judged by Debian's own Vagrant in a root of its own, without network."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from devtools.lab import cache, recipe
from devtools.paths import ROOT
from devtools.say import Reporter

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_lab, pytest.mark.slow]
PACKAGES = ("vagrant", "vagrant-libvirt")

# In a network of its own, with nothing but the Vagrantfile and what it names.
VALIDATE = """\
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir "$1/root/site"
cp -r "$3/Vagrantfile" "$3/ansible" "$1/root/site"
[ -z "$4" ] || printf '%s\\n' "$4" >> "$1/root/site/Vagrantfile"
mount -t proc proc "$1/root/proc"
exec chroot "$1/root" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 \
    VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_DEFAULT_PROVIDER=libvirt \
    sh -euc 'cd /site; vagrant validate; vagrant status --machine-readable'
"""


@pytest.fixture(scope="module")
def vagrant() -> Path:
    """A Debian with Vagrant."""
    report = Reporter()
    mirror = os.environ.get("CHAMBERLAIN_LAB_MIRROR", "")
    words = recipe.mmdebstrap_arguments(Path(), "", PACKAGES)

    def build(made: Path) -> None:
        root = made / "root"
        command = recipe.mmdebstrap_arguments(root, mirror, PACKAGES)
        cache.run(["unshare", "--mount", "--propagation", "private", "--", *command])
        recipe.scrub(root)

    key = hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    text = "Building a Debian with Vagrant (once)"
    return cache.entry("vagrant", key, text, build, report) / "root"


def validate(root: Path, scratch: Path, more: str = "") -> subprocess.CompletedProcess[str]:
    spaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "--"]
    words = ["sh", "-c", VALIDATE, "validate", str(scratch), str(root), str(ROOT), more]
    return subprocess.run(
        [*spaces, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.timeout(900)
def test_the_vagrantfile_is_valid_and_its_machines_are_those_of_the_inventory(
    vagrant: Path, tmp_path: Path
) -> None:
    done = validate(vagrant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vagrantfile validated successfully" in done.stdout
    rows = [line.split(",") for line in done.stdout.splitlines()]
    machines = {row[1] for row in rows if len(row) > 3 and row[2] == "provider-name"}
    hosts = yaml.safe_load((ROOT / "ansible/inventories/vagrant/hosts.yml").read_text())
    assert machines == set(hosts["all"]["hosts"])


@pytest.mark.timeout(900)
def test_a_setting_that_there_is_not_is_found(vagrant: Path, tmp_path: Path) -> None:
    wrong = "Vagrant.configure('2') { |c| c.vm.no_such_setting = 1 }"
    done = validate(vagrant, tmp_path, wrong)
    assert done.returncode != 0
    assert "no_such_setting" in done.stdout + done.stderr
