"""A signed apt repository of the Debian packages: files that any web server, or none, can serve."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final

from devtools.lab import cache
from devtools.package.release import SUITES, Release, architecture
from devtools.say import CannotGoOnError

PUBLIC: Final = "chamberlain.asc"
"""The public key, at the top of the repository."""
_OWNER: Final = "Chamberlain packages <chamberlain@localhost>"
_COMPONENT: Final = "main"
_HEAD: Final = {"Origin": "Chamberlain", "Label": "Chamberlain", "Components": _COMPONENT}


def make(folder: Path, debs: Sequence[Path], release: Release, key: Path | None) -> list[Path]:
    """Put `debs` into the repository `folder`, beside what is there, and sign it.

    Args:
        key: a secret OpenPGP key without a passphrase, as `gpg --export-secret-keys` writes it;
            None: the one beside the repository, which is made when there is none.

    Returns:
        The public key and the signed list of each suite.

    Raises:
        CannotGoOnError: the key cannot be used.
        BuildFailedError: a tool said no.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.absolute()
    for debian, suite in SUITES.items():
        pool = folder / "pool" / _COMPONENT / suite
        pool.mkdir(parents=True, exist_ok=True)
        for deb in debs:
            if f"~deb{debian}_" in deb.name:
                shutil.copyfile(deb, pool / deb.name)
    with _ring(key or beside(folder), may_make=key is None) as ring:
        public = folder / PUBLIC
        public.write_text(_gpg(ring, "--armor", "--export"))
        signed = [_index(folder, suite, release, ring) for suite in SUITES.values()]
    return [public, *signed]


def beside(folder: Path) -> Path:
    """Return where the secret key of the repository `folder` is kept: not in what is served."""
    return folder.with_name(f"{folder.name}.key")


def _index(folder: Path, suite: str, release: Release, ring: Path) -> Path:
    lists = folder / "dists" / suite
    binary = lists / _COMPONENT / f"binary-{architecture()}"
    binary.mkdir(parents=True, exist_ok=True)
    pool = f"pool/{_COMPONENT}/{suite}"
    packages = cache.run(["sh", "-euc", 'cd "$1"; apt-ftparchive packages "$2"', "x", folder, pool])
    (binary / "Packages").write_text(packages)
    with gzip.GzipFile(binary / "Packages.gz", "wb", mtime=release.epoch) as out:
        out.write(packages.encode())
    for old in ("Release", "InRelease", "Release.gpg"):
        (lists / old).unlink(missing_ok=True)
    said = {
        **_HEAD,
        "Suite": suite,
        "Codename": suite,
        "Architectures": architecture(),
        # apt refuses a date to come, and takes an older list for an attack: now, not the epoch.
        "Date": formatdate(usegmt=True),
    }
    options = [f"-oAPT::FTPArchive::Release::{name}={text}" for name, text in said.items()]
    text = cache.run(["apt-ftparchive", *options, "release", lists])
    (lists / "Release").write_text(text)
    digest = ("--digest-algo", "SHA512")
    _gpg(ring, *digest, "--clearsign", "-o", lists / "InRelease", lists / "Release")
    _gpg(ring, *digest, "--armor", "--detach-sign", "-o", lists / "Release.gpg", lists / "Release")
    return lists / "InRelease"


@contextmanager
def _ring(key: Path, *, may_make: bool) -> Iterator[Path]:
    """Give a key ring that has `key` alone, and is gone afterwards with its agent."""
    # A short path: the agent's socket is in it.
    with tempfile.TemporaryDirectory(prefix="ring", dir="/tmp") as name:
        ring = Path(name)
        try:
            if key.exists():
                _gpg(ring, "--import", key)
            elif may_make:
                _gpg(
                    ring, "--passphrase", "", "--quick-generate-key", _OWNER, "ed25519", "sign", "0"
                )
                key.touch(mode=0o600)
                key.write_text(_gpg(ring, "--armor", "--export-secret-keys"))
            else:
                raise CannotGoOnError(f"There is no key {key}.")
            yield ring
        finally:
            subprocess.run(
                ["gpgconf", "--homedir", ring, "--kill", "all"], capture_output=True, check=False
            )


def _gpg(ring: Path, *words: str | Path) -> str:
    done = subprocess.run(
        ["gpg", "--homedir", ring, "--batch", "--quiet", "--no-tty", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        check=False,
    )
    if done.returncode != 0:
        raise CannotGoOnError(f"gpg {words[0]}: {done.stderr.strip()[-1000:]}")
    return done.stdout
