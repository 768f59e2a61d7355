"""Slurm's accounting on a lab's hub: slurmdbd over MariaDB, for tests of accounts and limits.

Its packages are not in the hosts' Debian, which every lab boots: they are fetched once, 9 MB, and
unpacked over the hub while they are needed. The database lets in whoever reaches its socket,
which is slurmdbd's own account alone. The controller keeps its state elsewhere meanwhile: it
refuses books that give its cluster another number.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devtools.lab import cache, slurm_conf
from devtools.lab.lab import Lab, LabError
from devtools.lab.plan import HUB
from devtools.processes import wait_until
from devtools.say import Reporter

PACKAGES: Final = ("slurmdbd", "mariadb-server-core", "mariadb-client-core")
_UNITS: Final = ("lab-books", "lab-books-db")
_READY_S: Final = 120.0
_SETTINGS: Final = """\
AuthType=auth/munge
DbdHost=hub
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
LogFile=/var/log/slurm/slurmdbd.log
"""
_UNPACK: Final = """\
for one in /srv/lab/books/*.deb; do dpkg-deb --extract "$one" /; done
ldconfig
install -d -o slurm -g slurm -m 0700 /var/lib/lab-books /run/mysqld
install -d -o slurm -g slurm /var/lib/slurm/books
mariadb-install-db --no-defaults --user=slurm --datadir=/var/lib/lab-books --skip-test-db \\
    --auth-root-authentication-method=normal >/var/log/lab-books.log
"""
_DATABASE: Final = (
    *("mariadbd", "--no-defaults", "--datadir=/var/lib/lab-books", "--skip-networking"),
    *("--skip-grant-tables", "--socket=/run/mysqld/mysqld.sock"),
    *("--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"),
)
_ACCOUNTING: Final = """\
StateSaveLocation=/var/lib/slurm/books
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=hub
AccountingStorageEnforce=associations,limits,qos
"""


def packages(report: Reporter) -> Path:
    """Return a folder with the packages that the hosts' Debian lacks for accounting.

    Raises:
        BuildFailedError: apt could not fetch them.
    """
    base = cache.base(report)

    def build(made: Path) -> None:
        apt = made / "apt"
        for name in ("lists/partial", "archives/partial"):
            (apt / name).mkdir(parents=True)
        options = [
            *("Dir::Etc::SourceParts=/dev/null", "APT::Sandbox::User=root"),
            *("Dir::Etc::TrustedParts=/usr/share/keyrings", f"Dir::State::Lists={apt}/lists"),
            f"Dir::Etc::SourceList={base}/etc/apt/sources.list",
            *(f"Dir::Cache={apt}", f"Dir::State::status={base}/var/lib/dpkg/status"),
        ]
        words = ["apt-get", "-q", *(f"--option={one}" for one in options)]
        cache.run([*words, "update"])
        chosen = ["--yes", "--download-only", "--no-install-recommends", *PACKAGES]
        cache.run([*words, "install", *chosen])
        for file in (apt / "archives").glob("*.deb"):
            file.rename(made / file.name)
        shutil.rmtree(apt)

    key = hashlib.sha256(f"{base.name} {PACKAGES}".encode()).hexdigest()[:16]
    return cache.entry("books", key, "Fetching Slurm's accounting (once)", build, report)


@contextmanager
def kept(lab: Lab, commands: Sequence[str], report: Reporter) -> Iterator[None]:
    """Have the lab's Slurm keep books and enforce what they say; afterwards as it was before.

    Args:
        commands: what `sacctmgr` is told, one line each: accounts, people, limits.

    Raises:
        InsideError: a program refused; the message holds what it said.
        LabError: Slurm did not come back.
    """
    shutil.copytree(packages(report), lab.share / "books", dirs_exist_ok=True)
    try:
        with report.step("Starting Slurm's accounting on the hub"):
            lab.run(HUB, ["sh", "-ec", _UNPACK])
            # It insists that nobody else reads this, whatever stands in it.
            put = ["install", "-m", "0600", "-o", "slurm", "/dev/stdin"]
            lab.run(HUB, [*put, "/etc/slurm/slurmdbd.conf"], given=_SETTINGS)
            _unit(lab, _UNITS[1], _DATABASE, "--property=Type=notify", "--uid=slurm")
            _unit(lab, _UNITS[0], ("slurmdbd", "-D"))
        with slurm_conf.changed(lab, _ACCOUNTING, before=lambda: _write(lab, commands)):
            yield
    finally:
        lab.run(HUB, ["systemctl", "stop", *_UNITS], check=False)
        lab.run(HUB, ["rm", "-rf", "/var/lib/lab-books", "/var/lib/slurm/books"])


def _unit(lab: Lab, name: str, words: Sequence[str], *options: str) -> None:
    lab.run(HUB, ["systemd-run", "--quiet", "--collect", f"--unit={name}", *options, *words])


def _write(lab: Lab, commands: Sequence[str]) -> None:
    def answers() -> bool:
        asked = ["timeout", "10", "sacctmgr", "-n", "show", "cluster"]
        return lab.run(HUB, asked, check=False).returncode == 0

    if not wait_until(answers, _READY_S):
        raise LabError("The lab's slurmdbd does not answer; see slurmdbd.log on the hub.")
    # Before the controller comes: it enforces what it finds.
    lines = (f"sacctmgr -i -Q {one}" for one in ("add cluster lab", *commands))
    lab.run(HUB, ["sh", "-ec", "\n".join(lines)])
