"""Control groups of a lab: one folder per host in every hierarchy that the machine has mounted.

Without a folder of its own in each, every booted host's systemd would share one and the same
control group. Both kinds are served: version 1 with its controllers, version 2, or both.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from devtools.processes import wait_until

PREFIX: Final = "chamberlain-lab-"
_INHERITED: Final = ("cpuset.cpus", "cpuset.mems")
_GONE_S: Final = 20.0

# What a host runs must lie below what it sees as the root of its control groups, which nspawn
# calls `payload`. Where controllers are on (version 2), only a leaf takes processes.
_ENTER: Final = """\
while [ "$1" != -- ]; do
    at="$1"
    [ ! -d "$at/payload" ] || at="$at/payload"
    { echo $$ >"$at/cgroup.procs" || echo $$ >"$at/init.scope/cgroup.procs"; } 2>/dev/null ||
        { echo "no such control group: $at" >&2; exit 125; }
    shift
done
shift
exec "$@"
"""


def hierarchies() -> list[Path]:
    """Return where control groups are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(before.split()[4]))
    return found


def make(lab: str, host: str) -> list[Path]:
    """Make the folders of one host; return them."""
    made = []
    for hierarchy in hierarchies():
        folder = hierarchy
        for name in (PREFIX + lab, host):
            folder /= name
            folder.mkdir(exist_ok=True)
            _inherit(folder)
        made.append(folder)
    return made


def entering(folders: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the command that runs `words` in the control groups of one host."""
    return ["sh", "-c", _ENTER, "enter", *folders, "--", *words]


def remove(lab: str) -> None:
    """End whatever is left in the lab's control groups, and remove them."""
    tops = [top for one in hierarchies() if (top := one / (PREFIX + lab)).is_dir()]
    for top in tops:
        wait_until(lambda top=top: not _kill(top), _GONE_S)  # type: ignore[misc] # bound now
        for folder in [*_below(top), top]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def empty(lab: str, host: str) -> None:
    """Remove what a host that ended had made below its control groups."""
    for one in hierarchies():
        for folder in _below(one / (PREFIX + lab) / host):
            with contextlib.suppress(OSError):
                folder.rmdir()


def left(lab: str) -> list[Path]:
    """Return the control groups of a lab that exist."""
    return [top for one in hierarchies() if (top := one / (PREFIX + lab)).is_dir()]


def _inherit(folder: Path) -> None:
    # A new cpuset of version 1 has no processor and takes no process.
    for name in _INHERITED:
        file = folder / name
        if file.exists() and not file.read_text().strip():
            with contextlib.suppress(OSError):
                file.write_text((folder.parent / name).read_text())


def _below(top: Path) -> Iterator[Path]:
    for parent, folders, _ in os.walk(top, topdown=False):
        for name in folders:
            yield Path(parent) / name


def _kill(top: Path) -> bool:
    """Send SIGKILL to all in `top` and below; return whether there was any."""
    found = False
    for folder in [*_below(top), top]:
        try:
            pids = (folder / "cgroup.procs").read_text().split()
        except OSError:
            continue
        for pid in pids:
            found = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    return found
