"""Starts, restarts or stops one program below a supervisord of its own; says `changed` or `same`.

Standard input: {"do": "start", "restart" or "stop", "bin": folder of supervisord's programs,
"name": of the program, "config": supervisord's settings, "folders": [[path, mode, account], ...]
to be there}.
"""

import configparser
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

END_S = 180


def pid_of(settings):
    """Return supervisord's process id; 0 when it does not run."""
    try:
        pid = int(Path(settings["pidfile"]).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if b"supervisord" in words else 0


def run(*words):
    """Run a command; return how it ended."""
    return subprocess.run(words, capture_output=True, text=True, check=False)


def start(asked, settings):
    """Return whether something had to be started."""
    for path, mode, account in asked["folders"]:
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path).chmod(int(mode, 8))
        shutil.chown(path, account, account)
    known = ("-c", asked["config"])
    programs = Path(asked["bin"])
    if not pid_of(settings):
        done = run(programs / "supervisord", *known)
    else:
        seen = run(programs / "supervisorctl", *known, "status", asked["name"])
        if seen.returncode == 0 or "STARTING" in seen.stdout:
            return False
        done = run(programs / "supervisorctl", *known, "start", asked["name"])
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return True


def stop(asked, settings):
    """Return whether something had to be stopped; it has ended then."""
    pid = pid_of(settings)
    if not pid:
        return False
    os.kill(pid, 15)
    deadline = time.monotonic() + END_S
    while pid_of(settings) == pid:
        if time.monotonic() > deadline:
            sys.exit(f"{asked['name']} did not end within {END_S} s")
        time.sleep(0.1)
    return True


def restart(asked, settings):
    """Start it afresh, with the settings as they are now."""
    stop(asked, settings)
    return start(asked, settings)


def main():
    """Do what is asked on standard input."""
    asked = json.load(sys.stdin)
    config = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    there = config.read(asked["config"])
    settings = config["supervisord"] if there else {"pidfile": "/nonexistent"}
    changed = {"start": start, "restart": restart, "stop": stop}[asked["do"]](asked, settings)
    sys.stdout.write("changed\n" if changed else "same\n")


main()
