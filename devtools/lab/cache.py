"""The lab's cache: built roots and environments, kept by the hash of what they are made from.

It lies outside the tree, in the folder that `CHAMBERLAIN_LAB_CACHE` names. Everything in it is
built aside and renamed when it is whole, under one lock, so an interrupted build is no base.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from devtools.lab import recipe
from devtools.say import CannotGoOnError, Reporter

_KEPT: Final = 2
"""How many entries of a kind stay: today's and the one before, for those who go back and forth."""


class BuildFailedError(CannotGoOnError):
    """Something of the cache could not be built; the message holds the end of what was said."""


def folder() -> Path:
    """Return the cache folder."""
    named = os.environ.get("CHAMBERLAIN_LAB_CACHE")
    return Path(named).absolute() if named else Path("/var/cache/chamberlain-lab")


def base(report: Reporter, suite: str = recipe.SUITE) -> Path:
    """Return the root of lab hosts, which nobody may change; build it when it is absent.

    Args:
        suite: Debian's release, by its name.

    Raises:
        BuildFailedError: mmdebstrap failed: most often the network or the archive.
    """

    def build(root: Path) -> None:
        mirror = os.environ.get("CHAMBERLAIN_LAB_MIRROR", "")
        # In mounts of its own: an interruption leaves none of its mounts behind.
        run(
            [
                *("unshare", "--mount", "--propagation", "private", "--"),
                *recipe.mmdebstrap_arguments(root, mirror, suite=suite),
            ]
        )
        recipe.scrub(root)

    text = f"Building a Debian {suite} of {len(recipe.PACKAGES)} packages (once)"
    # Each release is kept for itself: two of them are no history of one another.
    kind = "base" if suite == recipe.SUITE else f"{suite}base"
    return entry(kind, recipe.base_hash(suite=suite), text, build, report)


def entry(kind: str, key: str, text: str, build: Callable[[Path], None], report: Reporter) -> Path:
    """Return the folder `kind-key` of the cache; call `build` with a new folder if it is absent.

    Args:
        text: what is told while it is built.

    Raises:
        BuildFailedError: from `build`; nothing of it stays.
    """
    made = folder() / f"{kind}-{key}"
    with locked():
        if made.is_dir():
            os.utime(made)
            return made
        aside = folder() / f"new-{kind}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o755)
        try:
            with report.step(text):
                build(aside)
            aside.rename(made)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        _forget_old(kind)
    return made


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the cache for ourselves; wait for whoever builds."""
    folder().mkdir(mode=0o755, parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> str:
    """Run a command of a build; return what it printed.

    Raises:
        BuildFailedError: it failed.
    """
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(str(word) for word in command[:8])
        raise BuildFailedError(f"{shown} ... ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _forget_old(kind: str) -> None:
    # A running lab stands on its entries: whoever uses one holds its folder open and locked.
    made = sorted(folder().glob(f"{kind}-*"), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in made[_KEPT:]:
        if _unused(old):
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[int]:
    """Keep an entry from being forgotten; the file descriptor may be handed to children."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


def _unused(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
