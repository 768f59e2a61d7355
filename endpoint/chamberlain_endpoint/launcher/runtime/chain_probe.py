"""What a throwaway container tries, as the account: home, munge, the scheduler's commands.

Runs in the container with the standard library alone; its text is handed over as it stands,
so that it needs nothing of ours in the image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

MARK = "chain-probe: "
SOURCE = "CHAMBERLAIN_TRY_SCHEDULER"
"""Variable of the environment: `host` where the scheduler's commands should be the host's."""

_PATIENCE_S = 10
_NO_CONFIGURATION = ("slurm.conf", "fetch a config", "configuration source")
_NO_PLUGIN = ("plugin", "dlopen")
_NO_LIBRARY = re.compile(
    r"error while loading shared libraries: (?:\S*/)?([^:/]+): (?:cannot open|file too short)"
)
"""An empty file is where an earlier container had the library mounted."""
_SILENT = ("unable to contact", "connection refused", "connect failure", "timed out")
_COMMANDS = (
    ("sinfo", ("--noheader", "--format", "%P %a %D")),
    ("squeue", ("--noheader", "--me")),
    ("qstat", ("-B",)),
)


def source() -> str:
    """Return the program's own text."""
    return Path(__file__).read_text()


def main() -> None:
    """Try everything; write one line on standard error."""
    rows = [_home(), *_munge(), *_scheduler()]
    sys.stderr.write(f"\n{MARK}{json.dumps(rows)}\n")


def _home() -> dict[str, str]:
    home = os.environ.get("HOME", "")
    probe = Path(home) / f".chamberlain-try-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        todo = "does the folder belong to the account? runtime.mounts_home; runtime.mounts"
        return {"link": "home", "state": "bad", "said": f"{home}: {error}", "todo": todo}
    return {"link": "home", "state": "good", "said": f"{home} can be written", "todo": ""}


def _munge() -> list[dict[str, str]]:
    if shutil.which("munge") is None:
        said = "no munge in the container"
        todo = "Slurm needs it: put it into the image, or mount it; else nothing to do"
        return [{"link": "munge", "state": "unknown", "said": said, "todo": todo}]
    code, out = _run("munge", "--no-input")
    if code:
        usual = 'mount it: runtime.mounts = ["/run/munge"]; does munged run on this host?'
        todo = _no_library(out) or usual
        return [{"link": "munge", "state": "bad", "said": out, "todo": todo}]
    return [{"credential": out}]


def _scheduler() -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, arguments in _COMMANDS:
        if shutil.which(name) is None:
            continue
        code, out = _run(name, *arguments)
        good = {"link": name, "state": "good", "said": out or "answers", "todo": ""}
        if code:
            # The others would be as silent, and take as long to say so.
            return [*found, {**good, "state": "bad", "said": out, "todo": _todo(out)}]
        found.append(good)
    if not found and os.environ.get(SOURCE) == "host":
        said = f"none of the host's commands is in the container's PATH ({os.environ['PATH']})"
        todo = "name them, or their folder, in runtime.scheduler_paths; path has their folder"
        found.append({"link": "scheduler", "state": "bad", "said": said, "todo": todo})
    if not found:
        said = "no scheduler's commands in the container"
        todo = "put them into the image or mount them from the host, if jobs are to be submitted"
        found.append({"link": "scheduler", "state": "unknown", "said": said, "todo": todo})
    return found


def _no_library(out: str) -> str:
    """Return what to do about a library that a command says is missing; empty: none is."""
    found = _NO_LIBRARY.search(out)
    if found is None:
        return ""
    where = f"add it to runtime.scheduler_paths (on this host: ldconfig -p | grep {found[1]})"
    return f"the library {found[1]} is not in the container: {where}"


def _todo(out: str) -> str:
    said, library = out.lower(), _no_library(out)
    if library:
        return library
    if any(sign in said for sign in _NO_CONFIGURATION):
        return 'mount it: runtime.mounts = ["/etc/slurm"]; is slurm.conf there on this host?'
    if any(sign in said for sign in _NO_PLUGIN):
        return "add the scheduler's folder of plugins to runtime.scheduler_paths"
    if any(sign in said for sign in _SILENT):
        return "the scheduler is silent: does its daemon run, can this host reach it?"
    return "is its configuration mounted (/etc/slurm), is the scheduler reachable?"


def _run(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, (done.stdout or done.stderr).strip()[:500]


if __name__ == "__main__":
    main()
