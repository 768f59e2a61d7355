"""What is in the packages, and that it is the same each time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.lab.packages.conftest import RELEASE, Built

from devtools.package import build, environments, release, repository, rpm
from devtools.say import CannotGoOnError, Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_packages,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
# Alone, in a root that is thrown away: $1 its base, $2 the repository, $3 the suite.
_IN_A_CHROOT = """\
set -eu
new="$(mktemp -d)"
mount -t tmpfs tmpfs "$new"
mkdir "$new/upper" "$new/work" "$new/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$new/upper,workdir=$new/work" "$new/root"
mount -t proc proc "$new/root/proc"
mkdir "$new/root/srv/repository"
mount --bind "$2" "$new/root/srv/repository"
trap 'umount -l "$new"; rmdir "$new"' EXIT
chroot "$new/root" sh -euc '
echo "deb [signed-by=/srv/repository/chamberlain.asc] file:/srv/repository $1 main" \\
    >/etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/*
apt="apt-get -qq -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0"
export DEBIAN_FRONTEND=noninteractive
$apt update
seen() { find / -xdev \\( -path /proc -o -path /srv -o -path /tmp -o -path /var/cache \\
    -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/log/apt \\) -prune -o -print | sort
    cat /etc/passwd /etc/group; }
seen >/tmp/before
$apt install --no-install-recommends chamberlain-endpoint chamberlain-hub
chamberlain-endpoint version
chamberlain-hub --version
ls -l /etc/chamberlain/hub.toml
getent passwd chamberlain chamberlain-hub
find /opt/chamberlain -name __pycache__ -prune -o -newer /tmp/before -type f -print | head -3
$apt purge chamberlain-endpoint chamberlain-hub
seen >/tmp/after
diff /tmp/before /tmp/after | grep -v "/var/log/dpkg.log\\|^[0-9]\\|-$" || echo nothing is left
' chroot "$3"
"""


def test_a_second_build_is_the_same_bytes(built: Built, tmp_path: Path) -> None:
    wheel = build.build_wheel(RELEASE, tmp_path, Reporter())
    assert build.sha256(wheel) == build.sha256(built.wheel)
    again = build.build_deb("hub", "13", wheel, RELEASE, tmp_path, Reporter())
    assert build.sha256(again) == build.sha256(built.debs["hub"])


def test_what_is_depended_on_is_compiled_to_the_same_bytes(built: Built, tmp_path: Path) -> None:
    # From the wheels, past the cache; what is there was made by another process, another day.
    report = Reporter()
    environments.install_dependencies("13", "hub", tmp_path, report)
    kept = environments.dependencies("13", "hub", report)
    once, again = (_byte_code(folder / "hub") for folder in (kept, tmp_path))
    assert len(once) > 500
    assert once == again


@pytest.mark.parametrize("part", release.PARTS)
def test_a_package_has_what_an_administrator_looks_for(built: Built, part: str) -> None:
    program = f"chamberlain-{part}"
    listed = _asked("dpkg-deb", "--contents", built.debs[part])
    paths = {line.split()[5].removeprefix(".") for line in listed.splitlines()}
    wanted = {
        f"/opt/chamberlain/{part}/bin/{program}",
        f"/usr/bin/{program}",
        f"/usr/share/man/man1/{program}.1.gz",
        f"/usr/share/bash-completion/completions/{program}",
        f"/usr/share/zsh/vendor-completions/_{program}",
        f"/usr/share/fish/vendor_completions.d/{program}.fish",
        f"/usr/lib/sysusers.d/{program}.conf",
    }
    wanted |= (
        {
            "/usr/lib/systemd/system/chamberlain-endpoint@.service",
            "/usr/lib/systemd/system/chamberlain-launcher@.service",
            "/usr/lib/tmpfiles.d/chamberlain-endpoint.conf",
            "/etc/pam.d/chamberlain-endpoint",
            "/etc/logrotate.d/chamberlain-endpoint",
        }
        if part == "endpoint"
        else {"/usr/lib/systemd/system/chamberlain-hub.service"}
    )
    assert wanted <= paths
    # Root's programs are written by root alone, and byte code is there for each module of ours.
    assert not [line for line in listed.splitlines() if line[8] == "w" and line[0] != "l"]
    assert (
        f"/opt/chamberlain/{part}/lib/python3.13/site-packages/chamberlain_{part}/__pycache__/"
        in paths
    )


def test_both_install_on_debian_12_without_network_or_systemd_and_leave_nothing(
    wheel: Path, tmp_path: Path
) -> None:
    report = Reporter()
    debs = [build.build_deb(part, "12", wheel, RELEASE, tmp_path, report) for part in release.PARTS]
    repository.make(tmp_path / "apt", debs, RELEASE, None)
    alone = ["unshare", "--mount", "--net", "--propagation", "private", "--"]
    base = environments.root("12", report)
    words = [*alone, "sh", "-c", _IN_A_CHROOT, "x", str(base), str(tmp_path / "apt"), "bookworm"]
    said = _asked(*words)
    assert "python 3.11" in said
    assert "-rw-r----- 1 root chamberlain-hub" in said
    assert "chamberlain:x:" in said
    assert said.rstrip().endswith("nothing is left")


def test_the_rpm_says_what_it_needs_and_does(wheel: Path, tmp_path: Path) -> None:
    package = rpm.build(wheel, RELEASE, tmp_path, Reporter())
    paths = set(_asked("rpm", "-qp", "--list", package).splitlines())
    assert {
        "/opt/chamberlain/endpoint/bin/chamberlain-endpoint",
        "/usr/bin/chamberlain-endpoint",
        "/usr/lib/systemd/system/chamberlain-launcher@.service",
        "/usr/share/zsh/site-functions/_chamberlain-endpoint",
        "/etc/pam.d/chamberlain-endpoint",
    } <= paths
    # Folders of the system are not ours to own.
    assert not paths & {"/usr", "/usr/bin", "/etc", "/etc/pam.d", "/opt"}
    assert set(_asked("rpm", "-qp", "--configfiles", package).split()) == {
        "/etc/pam.d/chamberlain-endpoint",
        "/etc/logrotate.d/chamberlain-endpoint",
    }
    needs = _asked("rpm", "-qp", "--requires", package)
    assert "python3.11" in needs
    scripts = _asked("rpm", "-qp", "--scripts", package)
    for name in ("preinstall", "postinstall", "preuninstall", "postuninstall"):
        assert f"{name} scriptlet (using /bin/sh)" in scripts
    root = tmp_path / "root"
    root.mkdir()
    _asked("rpm", "--root", root, "--initdb")
    _asked("rpm", "--root", root, "--install", "--nodeps", "--noscripts", package)
    assert "password-auth" in (root / "etc/pam.d/chamberlain-endpoint").read_text()
    assert _asked("rpm", "--root", root, "--verify", "--nodeps", "--noscripts", "-a") == ""
    # Nothing in it asks for a newer C library than EL 9 has.
    tags = {wheel for wheel in _wheels_of(root) if "manylinux" in wheel}
    assert tags
    assert not [tag for tag in tags if _glibc_of(tag) > (2, 34)]


def test_a_list_that_others_changed_is_not_believed(built: Built, tmp_path: Path) -> None:
    ring = tmp_path / "key.gpg"
    key = built.first / repository.PUBLIC
    subprocess.run(["gpg", "--dearmor", "-o", ring, key], check=True)
    signed = built.first / "dists/trixie/InRelease"
    assert "Suite: trixie" in _asked("gpgv", "--keyring", ring, "--output", "-", signed)
    forged = tmp_path / "InRelease"
    forged.write_text(signed.read_text().replace("Suite: trixie", "Suite: trixia"))
    done = subprocess.run(["gpgv", "--keyring", ring, forged], capture_output=True, check=False)
    assert done.returncode != 0


def test_a_key_that_is_not_there_makes_no_repository(tmp_path: Path) -> None:
    with pytest.raises(CannotGoOnError, match="There is no key"):
        repository.make(tmp_path / "apt", [], RELEASE, tmp_path / "nothing")


def _byte_code(folder: Path) -> dict[Path, str]:
    return {file.relative_to(folder): build.sha256(file) for file in folder.rglob("*.pyc")}


def _wheels_of(root: Path) -> list[str]:
    file = root / "usr/share/doc/chamberlain-endpoint/wheels.sha256"
    return [line.split()[1] for line in file.read_text().splitlines()]


def _glibc_of(wheel: str) -> tuple[int, int]:
    """Return the oldest C library that one of the wheel's tags asks for."""
    tags = wheel.removesuffix(".whl").split("-")[-1].split(".")
    legacy = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
    found = []
    for tag in tags:
        fields = tag.removeprefix("manylinux").strip("_").split("_")
        found.append(legacy[fields[0]] if fields[0] in legacy else (int(fields[0]), int(fields[1])))
    return min(found)


def _asked(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
