"""Packages built from the checkout, once for all tests of this folder."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devtools.package import build, release, repository
from devtools.package.release import Release
from devtools.say import Reporter

RELEASE = replace(release.current("1"), epoch=1_700_000_000)


@dataclass(frozen=True, slots=True)
class Built:
    """Packages for Debian 13, and two repositories: with them, and with a later revision."""

    folder: Path
    wheel: Path
    debs: dict[str, Path]
    first: Path
    later: Path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    return build.build_wheel(RELEASE, tmp_path_factory.mktemp("wheel"), Reporter())


@pytest.fixture(scope="session")
def built(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The packages for Debian 13."""
    folder = tmp_path_factory.mktemp("packages")
    debs = {
        part: build.build_deb(part, "13", wheel, RELEASE, folder, Reporter())
        for part in release.PARTS
    }
    first, later = folder / "first", folder / "later"
    repository.make(first, [*debs.values()], RELEASE, None)
    newer = [as_revision(deb, "2", folder) for deb in debs.values()]
    # The same key: hosts believe that one.
    repository.make(later, newer, RELEASE, repository.beside(first))
    return Built(folder, wheel, debs, first, later)


def as_revision(deb: Path, revision: str, folder: Path) -> Path:
    """Return `deb` of `RELEASE` as a later build would be: all but its version is equal."""
    tree = folder / f"{deb.name}.tree"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    old, new = RELEASE.of_debian("13"), Release("0", revision, 0).of_debian("13")
    new = new.replace("0-", f"{RELEASE.version}-", 1)
    text = control.read_text()
    assert f"Version: {old}\n" in text
    control.write_text(text.replace(f"Version: {old}\n", f"Version: {new}\n"))
    made = folder / deb.name.replace(old, new)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return made
